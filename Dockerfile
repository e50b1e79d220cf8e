# Parecido with its model, for both services of docker-compose.yml. By itself, and listening beyond its own loopback, it
# wants API keys: docker run -p 8000:8000 -e PARECIDO_API_KEYS -v STORE:/data parecido
FROM python:3.11-slim AS build
WORKDIR /build

# Wheels that are preferred to those of an index: a folder that the build is given there, or a page that the argument
# names. Where torch's own index cannot be reached, its CPU build can come from here.
ARG PIP_FIND_LINKS=/opt/wheels

# What Parecido needs changes seldom, Parecido itself often: two layers. What reads PDF, HTML and Word files is needed too,
# as such files may lie in ./documents, and what makes the model fast without a GPU.
COPY tools/install.sh tools/
COPY pyproject.toml constraints.txt ./
RUN mkdir -p /opt/wheels \
    && python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], *p['optional-dependencies']['documents'], *p['optional-dependencies']['openvino'], sep='\n')" > requirements.txt \
    && tools/install.sh /opt/parecido -r requirements.txt \
    && /opt/parecido/bin/pip uninstall --quiet --yes uv
COPY README.md LICENSE ./
COPY indexer indexer/
COPY service service/
RUN /opt/parecido/bin/pip install --quiet --no-deps .


FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --create-home parecido \
    && install -d -o parecido -g parecido /data
COPY --from=build /opt/parecido /opt/parecido
ENV PATH=/opt/parecido/bin:$PATH \
    PARECIDO_STORE=/data
# Where parecido.toml is, if there is one.
WORKDIR /etc/parecido
USER 10001:10001
# The model is converted here, so that no container has to, unless its processor computes in another precision.
RUN python -c "import os; from indexer import config, models; \
models.load(models.identify(config.CollectionSettings(source='-')), None, config.load(None, os.environ).providers)"
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=5m \
    CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["parecido", "serve", "--host", "0.0.0.0", "--port", "8000"]
