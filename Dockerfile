# Build a wheel, then install it into a slim image that runs as nobody special.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY simulator simulator
COPY openapi openapi
COPY scenarios scenarios
RUN python -m venv /opt/understudy \
    && /opt/understudy/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/understudy /opt/understudy
RUN useradd --system --no-create-home --shell /usr/sbin/nologin understudy
USER understudy
# Inside a container the loopback address would be out of reach for everybody else.
ENV PATH=/opt/understudy/bin:$PATH UNDERSTUDY_HOST=0.0.0.0 UNDERSTUDY_PORT=4010 PYTHONUNBUFFERED=1
EXPOSE 4010
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:%s/__admin/health' % os.environ['UNDERSTUDY_PORT'], timeout=2)"]
ENTRYPOINT ["understudy"]
CMD ["serve"]
