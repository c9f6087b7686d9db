// gzip, Brotli and Zstandard through their libraries' streaming calls.
#include "mock/encode.hpp"

#include <brotli/encode.h>
#include <dlfcn.h>
#include <zlib.h>
#include <zstd.h>

#include <array>

namespace kw::mock {
namespace {

// A library opened for the life of the process.
class library {
  public:
    explicit library(const char* name) : handle_(::dlopen(name, RTLD_NOW | RTLD_LOCAL)) {}
    template <class Function>
    [[nodiscard]] Function* get(const char* symbol) const {
        return handle_ ? reinterpret_cast<Function*>(::dlsym(handle_, symbol)) : nullptr;
    }

  private:
    void* handle_;
};

constexpr std::size_t block = 16384;

class gzip_encoder final : public encoder {
    struct api {
        library lib{"libz.so.1"};
        decltype(&deflateInit2_) init = lib.get<decltype(deflateInit2_)>("deflateInit2_");
        decltype(&::deflate) deflate = lib.get<decltype(::deflate)>("deflate");
        decltype(&deflateEnd) end = lib.get<decltype(deflateEnd)>("deflateEnd");
    };
    static const api& calls() {
        static const api a;
        return a;
    }

  public:
    [[nodiscard]] static bool available() { return calls().init && calls().deflate && calls().end; }
    gzip_encoder() {
        constexpr int gzip_window = 15 + 16;
        calls().init(&stream_, 6, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                     static_cast<int>(sizeof stream_));
    }
    ~gzip_encoder() override { calls().end(&stream_); }
    std::string push(std::string_view bytes, bool last) override {
        std::string out;
        std::array<char, block> buffer{};
        stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
        stream_.avail_in = static_cast<uInt>(bytes.size());
        do {
            stream_.next_out = reinterpret_cast<Bytef*>(buffer.data());
            stream_.avail_out = block;
            calls().deflate(&stream_, last ? Z_FINISH : Z_SYNC_FLUSH);
            out.append(buffer.data(), block - stream_.avail_out);
        } while (stream_.avail_out == 0);
        return out;
    }

  private:
    z_stream stream_{};
};

class brotli_encoder final : public encoder {
    struct api {
        library lib{"libbrotlienc.so.1"};
        decltype(&BrotliEncoderCreateInstance) create =
            lib.get<decltype(BrotliEncoderCreateInstance)>("BrotliEncoderCreateInstance");
        decltype(&BrotliEncoderDestroyInstance) destroy =
            lib.get<decltype(BrotliEncoderDestroyInstance)>("BrotliEncoderDestroyInstance");
        decltype(&BrotliEncoderCompressStream) compress =
            lib.get<decltype(BrotliEncoderCompressStream)>("BrotliEncoderCompressStream");
        decltype(&BrotliEncoderHasMoreOutput) more =
            lib.get<decltype(BrotliEncoderHasMoreOutput)>("BrotliEncoderHasMoreOutput");
    };
    static const api& calls() {
        static const api a;
        return a;
    }

  public:
    [[nodiscard]] static bool available() {
        return calls().create && calls().destroy && calls().compress && calls().more;
    }
    ~brotli_encoder() override { calls().destroy(state_); }
    std::string push(std::string_view bytes, bool last) override {
        std::string out;
        std::array<std::uint8_t, block> buffer{};
        std::size_t left = bytes.size();
        const auto* in = reinterpret_cast<const std::uint8_t*>(bytes.data());
        do {
            std::size_t room = block;
            std::uint8_t* to = buffer.data();
            calls().compress(state_, last ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH, &left,
                             &in, &room, &to, nullptr);
            out.append(reinterpret_cast<const char*>(buffer.data()), block - room);
        } while (left > 0 || calls().more(state_));
        return out;
    }

  private:
    BrotliEncoderState* state_ = calls().create(nullptr, nullptr, nullptr);
};

class zstd_encoder final : public encoder {
    struct api {
        library lib{"libzstd.so.1"};
        decltype(&ZSTD_createCCtx) create = lib.get<decltype(ZSTD_createCCtx)>("ZSTD_createCCtx");
        decltype(&ZSTD_freeCCtx) destroy = lib.get<decltype(ZSTD_freeCCtx)>("ZSTD_freeCCtx");
        decltype(&ZSTD_compressStream2) compress =
            lib.get<decltype(ZSTD_compressStream2)>("ZSTD_compressStream2");
        decltype(&ZSTD_isError) failed = lib.get<decltype(ZSTD_isError)>("ZSTD_isError");
    };
    static const api& calls() {
        static const api a;
        return a;
    }

  public:
    [[nodiscard]] static bool available() {
        return calls().create && calls().destroy && calls().compress && calls().failed;
    }
    ~zstd_encoder() override { calls().destroy(context_); }
    std::string push(std::string_view bytes, bool last) override {
        std::string out;
        std::array<char, block> buffer{};
        ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
        std::size_t left = 0;
        do {
            ZSTD_outBuffer to{buffer.data(), block, 0};
            left = calls().compress(context_, &to, &in, last ? ZSTD_e_end : ZSTD_e_flush);
            if (calls().failed(left)) break;
            out.append(buffer.data(), to.pos);
        } while (left > 0);
        return out;
    }

  private:
    ZSTD_CCtx* context_ = calls().create();
};

}  // namespace

std::unique_ptr<encoder> make_encoder(std::string_view coding) {
    if (coding == "gzip" && gzip_encoder::available()) return std::make_unique<gzip_encoder>();
    if (coding == "br" && brotli_encoder::available()) return std::make_unique<brotli_encoder>();
    if (coding == "zstd" && zstd_encoder::available()) return std::make_unique<zstd_encoder>();
    return nullptr;
}

}  // namespace kw::mock
