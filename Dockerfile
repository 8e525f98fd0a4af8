# Service on a CPU: docker build -t nmt-serve . && docker run -p 5000:5000 -v $PWD/runs:/models:ro nmt-serve /models/my
FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
# For the kernels in C; the image that runs needs no compiler.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir -c constraints.txt torch --index-url https://download.pytorch.org/whl/cpu \
    && /venv/bin/pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM python:3.12-slim
RUN useradd --create-home --uid 1000 nmt
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER nmt
WORKDIR /home/nmt
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health')"]
ENTRYPOINT ["nmt-serve", "--host", "0.0.0.0"]
CMD ["/models"]
