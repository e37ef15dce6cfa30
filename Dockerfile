# The Python that the tests run on. Its patch releases and Debian's come with each build, so build often.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY gateway gateway
# The environment has no pip of its own: nothing is installed into a running gateway.
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv --without-pip /opt/gateway \
    && python -m pip --python /opt/gateway/bin/python install --no-cache-dir --constraint constraints.txt /wheels/*.whl

FROM python:3.11-slim-bookworm
COPY --from=build /opt/gateway /opt/gateway
# Any user of group 0 may write there, as OpenShift's do; everything else can be read-only.
RUN install --directory --owner=10001 --group=0 --mode=0770 /data
ENV PATH=/opt/gateway/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
# The ledger (`sqlite:///gateway.db`) and its journal are relative to this.
WORKDIR /data
VOLUME /data
USER 10001:0
EXPOSE 4000
STOPSIGNAL SIGTERM
# `http.client` heeds no proxy of the environment, unlike `urllib`.
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s CMD ["python", "-c", "\
from http.client import HTTPConnection; \
gateway = HTTPConnection('127.0.0.1', 4000, timeout=2); \
gateway.request('GET', '/healthz/live'); \
raise SystemExit(gateway.getresponse().status != 200)"]
ENTRYPOINT ["gateway"]
CMD ["serve", "--config", "/etc/gateway/gateway.yaml"]
