// zlib, brotli and zstd behind one small interface.
#include "usage/decoder.hpp"

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>

namespace kw::usage {
namespace {

constexpr int max_zstd_window_log = 23;  // 8 MiB, the most that a content coding may use

bool equals(std::string_view a, std::string_view lower) noexcept {
    return a.size() == lower.size() &&
           std::equal(a.begin(), a.end(), lower.begin(),
                      [](char x, char y) { return (x >= 'A' && x <= 'Z' ? x + 32 : x) == y; });
}

std::string_view trim(std::string_view s) noexcept {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t'))
        s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t'))
        s.remove_suffix(1);
    return s;
}

}  // namespace

encoding parse_encoding(std::string_view header) noexcept {
    encoding found = encoding::identity;
    while (!header.empty()) {
        const std::size_t comma = std::min(header.find(','), header.size());
        const std::string_view word = trim(header.substr(0, comma));
        header.remove_prefix(std::min(comma + 1, header.size()));
        encoding next = encoding::unknown;
        if (word.empty() || equals(word, "identity"))
            continue;
        else if (equals(word, "gzip") || equals(word, "x-gzip"))
            next = encoding::gzip;
        else if (equals(word, "deflate"))
            next = encoding::deflate;
        else if (equals(word, "br"))
            next = encoding::br;
        else if (equals(word, "zstd"))
            next = encoding::zstd;
        if (found != encoding::identity) return encoding::unknown;
        found = next;
    }
    return found;
}

struct decoder::state {
    z_stream zlib{};
    bool zlib_started = false;
    bool zlib_ended = false;
    BrotliDecoderState* brotli = nullptr;
    ZSTD_DCtx* zstd = nullptr;
    std::array<char, 16384> window;

    state() = default;
    state(const state&) = delete;
    state& operator=(const state&) = delete;
    ~state() {
        if (zlib_started) inflateEnd(&zlib);
        if (brotli != nullptr) BrotliDecoderDestroyInstance(brotli);
        if (zstd != nullptr) ZSTD_freeDCtx(zstd);
    }
};

decoder::decoder() = default;
decoder::decoder(decoder&&) noexcept = default;
decoder& decoder::operator=(decoder&&) noexcept = default;
decoder::~decoder() = default;

void decoder::start(encoding coding) {
    coding_ = coding;
    failed_ = coding == encoding::unknown;
    decoded_ = 0;
    state_.reset();
}

bool decoder::feed_coded(std::string_view input, emit sink, void* context) {
    if (failed_) return false;
    if (input.empty()) return true;
    if (!state_) state_ = std::make_unique<state>();
    bool good = false;
    if (coding_ == encoding::br)
        good = feed_brotli(input, sink, context);
    else if (coding_ == encoding::zstd)
        good = feed_zstd(input, sink, context);
    else
        good = feed_zlib(input, sink, context);
    if (!good || decoded_ > max_decoded) {
        failed_ = true;
        state_.reset();
    }
    return !failed_;
}

bool decoder::feed_zlib(std::string_view input, emit sink, void* context) {
    z_stream& z = state_->zlib;
    if (!state_->zlib_started) {
        // 32 above the window bits: gzip or zlib, by the header. Some servers send `deflate`
        // without the zlib header; its first byte tells them apart.
        const auto first = static_cast<unsigned char>(input.front());
        const bool raw = coding_ == encoding::deflate && ((first & 0x0FU) != 8 || first > 0x78);
        if (inflateInit2(&z, raw ? -15 : 15 + 32) != Z_OK) return false;
        state_->zlib_started = true;
    }
    // zlib's interface is not const-correct; it does not write to its input.
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    z.avail_in = static_cast<uInt>(std::min<std::size_t>(input.size(), 1U << 30U));
    for (;;) {
        if (state_->zlib_ended) {  // a further member of a gzip file
            if (z.avail_in == 0) return true;
            if (coding_ != encoding::gzip || inflateReset(&z) != Z_OK) return false;
            state_->zlib_ended = false;
        }
        z.next_out = reinterpret_cast<Bytef*>(state_->window.data());
        z.avail_out = static_cast<uInt>(state_->window.size());
        const int rc = inflate(&z, Z_NO_FLUSH);
        const std::size_t made = state_->window.size() - z.avail_out;
        decoded_ += made;
        if (made != 0) sink(context, {state_->window.data(), made});
        if (rc == Z_STREAM_END) {
            state_->zlib_ended = true;
            continue;
        }
        if (rc == Z_BUF_ERROR) return true;  // wants more input
        if (rc != Z_OK || decoded_ > max_decoded) return false;
        if (z.avail_in == 0 && z.avail_out != 0) return true;
    }
}

bool decoder::feed_brotli(std::string_view input, emit sink, void* context) {
    if (state_->brotli == nullptr) {
        state_->brotli = BrotliDecoderCreateInstance(nullptr, nullptr, nullptr);
        if (state_->brotli == nullptr) return false;
    }
    auto next = reinterpret_cast<const std::uint8_t*>(input.data());
    std::size_t left = input.size();
    for (;;) {
        auto out = reinterpret_cast<std::uint8_t*>(state_->window.data());
        std::size_t room = state_->window.size();
        const auto rc =
            BrotliDecoderDecompressStream(state_->brotli, &left, &next, &room, &out, nullptr);
        const std::size_t made = state_->window.size() - room;
        decoded_ += made;
        if (made != 0) sink(context, {state_->window.data(), made});
        if (rc == BROTLI_DECODER_RESULT_SUCCESS) return left == 0;
        if (rc == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT) return true;
        if (rc == BROTLI_DECODER_RESULT_ERROR || decoded_ > max_decoded) return false;
    }
}

bool decoder::feed_zstd(std::string_view input, emit sink, void* context) {
    if (state_->zstd == nullptr) {
        state_->zstd = ZSTD_createDCtx();
        if (state_->zstd == nullptr) return false;
        if (ZSTD_isError(
                ZSTD_DCtx_setParameter(state_->zstd, ZSTD_d_windowLogMax, max_zstd_window_log)))
            return false;
    }
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    for (;;) {
        ZSTD_outBuffer out{state_->window.data(), state_->window.size(), 0};
        const std::size_t rc = ZSTD_decompressStream(state_->zstd, &out, &in);
        decoded_ += out.pos;
        if (out.pos != 0) sink(context, {state_->window.data(), out.pos});
        if (ZSTD_isError(rc) != 0U || decoded_ > max_decoded) return false;
        if (in.pos == in.size && out.pos < out.size) return true;
    }
}

}  // namespace kw::usage
