FROM python:3.11-slim AS build
COPY . /source
# Wheels laid beside the sources are preferred, so that the image can be built without a network.
RUN python3 -m venv /z4 \
 && mkdir -p /source/wheels \
 && /z4/bin/python3 -m pip install --no-cache-dir --find-links /source/wheels \
      $(test -n "$(ls /source/wheels)" && echo --no-index) /source

FROM python:3.11-slim
RUN useradd --system --uid 6355 --home-dir /var/lib/z4 --create-home z4
COPY --from=build /z4 /z4
ENV PATH=/z4/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    Z4_DB_DATA_DIR=/var/lib/z4/db \
    Z4_PEER_DATA_DIR=/var/lib/z4/peer
USER z4
VOLUME /var/lib/z4
EXPOSE 6355 6356 3306 2112
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=2s --timeout=3s --start-period=20s --retries=5 \
  CMD ["z4t", "-timeout", "2", "health"]
ENTRYPOINT ["z4"]
CMD ["server"]
