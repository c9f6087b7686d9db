// Streaming decoders of content encodings into a small fixed window: enough to read usage from a
// compressed copy, never to keep it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace kw::usage {

enum class encoding : std::uint8_t { identity, gzip, deflate, br, zstd, unknown };

// The value of a Content-Encoding header; a list of two or more real codings is `unknown`.
[[nodiscard]] encoding parse_encoding(std::string_view header) noexcept;

// One per answer, on one thread. Decoded text comes in pieces of at most 16 KiB. A decompression
// bomb costs time only up to max_decoded bytes; window sizes are capped at 8 MiB (16 MiB for br).
class decoder {
  public:
    static constexpr std::uint64_t max_decoded = std::uint64_t{256} << 20U;

    decoder();
    decoder(decoder&&) noexcept;
    decoder& operator=(decoder&&) noexcept;
    ~decoder();

    // Starts anew. identity and unknown need no memory.
    void start(encoding coding);
    // Calls sink(piece) with what the input gives. false: broken input, too much output, or an
    // unknown coding; from then on everything is passed over.
    template <class Sink>
    bool feed(std::string_view input, Sink&& sink) {
        if (coding_ == encoding::identity) {
            sink(input);
            return true;
        }
        return feed_coded(
            input,
            [](void* s, std::string_view piece) {
                (*static_cast<std::remove_reference_t<Sink>*>(s))(piece);
            },
            &sink);
    }
    [[nodiscard]] bool failed() const noexcept { return failed_; }

  private:
    struct state;
    using emit = void (*)(void*, std::string_view);
    bool feed_coded(std::string_view input, emit sink, void* context);
    bool feed_zlib(std::string_view input, emit sink, void* context);
    bool feed_brotli(std::string_view input, emit sink, void* context);
    bool feed_zstd(std::string_view input, emit sink, void* context);

    encoding coding_ = encoding::identity;
    bool failed_ = false;
    std::uint64_t decoded_ = 0;
    std::unique_ptr<state> state_;
};

}  // namespace kw::usage
