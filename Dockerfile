# The image: built from source in one stage, then the program and the libraries that it links.
# `docker build -t keywheel .`; another base: --build-arg BASE=debian:12-slim --build-arg BOOST=1.81
ARG BASE=debian:13-slim

FROM ${BASE} AS build
ARG BOOST=1.83
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        clang-19 cmake libboost${BOOST}-dev libboost-json${BOOST}-dev libboost-url${BOOST}-dev libbrotli-dev \
        libcli11-dev libfmt-dev libhiredis-dev libsimdjson-dev libspdlog-dev libsqlite3-dev libssl-dev \
        libyaml-cpp-dev libzstd-dev lld-19 ninja-build pkg-config zlib1g-dev >/dev/null
COPY . /src
# At most so many compilers at once; each takes up to a gigabyte.
ARG JOBS=4
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=clang++-19 \
        -DCMAKE_CXX_FLAGS_RELEASE=-O2 -DCMAKE_EXE_LINKER_FLAGS="-fuse-ld=lld -s" -DKW_TESTS=OFF >/dev/null \
    && cmake --build /build --target keywheel -j ${JOBS} \
    && mkdir /out && cp /build/keywheel /out/ && /out/keywheel version
# The packages of its libraries, whatever this base calls them.
RUN ldd /out/keywheel | awk '/=> \//{print $3}' | xargs -n 1 readlink -f \
    | while read -r file; do \
        dpkg-query -S "$file" 2>/dev/null || dpkg-query -S "/usr$file" 2>/dev/null || dpkg-query -S "${file#/usr}"; \
    done | cut -d: -f1 | sort -u > /out/packages

FROM ${BASE}
COPY --from=build /out/packages /usr/share/keywheel/packages
RUN apt-get update && DEBIAN_FRONTEND=noninteractive xargs -a /usr/share/keywheel/packages \
        apt-get install -y -qq --no-install-recommends ca-certificates >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* /usr/share/doc/* /usr/share/locale/* \
    && groupadd --gid 10001 keywheel \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/keywheel --shell /usr/sbin/nologin keywheel \
    && install -d -m 0700 -o keywheel -g keywheel /var/lib/keywheel
COPY --from=build /out/keywheel /usr/bin/keywheel

# By number, so that an orchestrator can see that it is not root. Nothing but the data directory is
# written: run it with a read-only root file system.
USER 10001:10001
ENV HOST=0.0.0.0 PORT=8080 DATA_DIR=/var/lib/keywheel
VOLUME /var/lib/keywheel
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=15s --retries=3 CMD ["keywheel", "healthcheck"]
# It takes signals as process 1 and has no children: no init is needed. Give it longer than
# server.shutdown_timeout to stop (docker stop -t 330).
ENTRYPOINT ["keywheel"]
CMD ["serve"]
