/*
 * Loaded before the C library: counts every sync of a process, over all of its threads, and kills it at one.
 *
 * SYNCS_LOG   a file that gets one line per sync, when it begins: the call and the file that it is for
 * SYNCS_KILL  a file that may hold a number, from 1: of the sync at which the process dies as by kill -9, or of
 *             one before the next, which kills then
 * SYNCS_AFTER 1: it dies once that sync is done; 0: before it begins
 *
 * Children of the process are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_file = -1;
static const char *kill_path;
static long count;
static int dies_after, is_doomed;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("SYNCS_LOG"), *after = getenv("SYNCS_AFTER");

	if (path)
		log_file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	kill_path = getenv("SYNCS_KILL");
	if (kill_path)
		kill_path = strdup(kill_path);
	dies_after = after && *after == '1';
	unsetenv("LD_PRELOAD");
}

static void die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

static int is_last(void)
{
	char text[24];
	ssize_t length = -1;
	int file = kill_path ? open(kill_path, O_RDONLY | O_CLOEXEC) : -1;

	if (file >= 0) {
		length = read(file, text, sizeof text - 1);
		close(file);
	}
	if (length <= 0)
		return 0;
	text[length] = 0;
	return count >= atol(text);
}

/* Whether the process has to die when this sync is done. */
static int enter(const char *call, int file)
{
	char link[64], line[4200], target[4096];
	ssize_t length = -1;

	if (file >= 0) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", file);
		length = readlink(link, target, sizeof target - 1);
	}
	target[length < 0 ? 0 : length] = 0;
	snprintf(line, sizeof line, "%s %s\n", call, target);
	pthread_mutex_lock(&lock);
	/* No other sync begins any more. */
	while (is_doomed)
		pause();
	count++;
	if (log_file >= 0 && write(log_file, line, strlen(line)) < 0)
		die();
	is_doomed = is_last();
	if (is_doomed && !dies_after)
		die();
	pthread_mutex_unlock(&lock);
	return is_doomed;
}

static int leave(int dies, int result)
{
	if (dies)
		die();
	return result;
}

#define WRAP(name, parameters, arguments, file)                                  \
	int name parameters                                                      \
	{                                                                        \
		static int(*real) parameters;                                    \
		if (!real)                                                       \
			*(void **)&real = dlsym(RTLD_NEXT, #name);               \
		int dies = enter(#name, file);                                   \
		return leave(dies, real arguments);                              \
	}

WRAP(fsync, (int file), (file), file)
WRAP(fdatasync, (int file), (file), file)
WRAP(sync_file_range, (int file, off64_t at, off64_t length, unsigned flags), (file, at, length, flags), file)
WRAP(msync, (void *at, size_t length, int flags), (at, length, flags), -1)
WRAP(syncfs, (int file), (file), file)
