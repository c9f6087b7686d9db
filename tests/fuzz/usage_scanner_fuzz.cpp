// The scanner under any bytes: no crash, sound counts, and the same totals however a body is cut.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "usage/request_fields.hpp"
#include "usage/scanner.hpp"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void check(const kw::store::token_counts& t) {
    require(t.input >= 0 && t.output >= 0 && t.reasoning <= t.output);
    require(t.cached_read + t.cache_write_5m + t.cache_write_1h <= t.input);
    require(t.audio_in + t.image_in <= t.input && t.audio_out + t.image_out <= t.output);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::uint8_t choice = data[0];
    const std::string_view body(reinterpret_cast<const char*>(data + 1), size - 1);
    constexpr std::string_view codings[] = {"", "gzip", "deflate", "br", "zstd"};
    const std::string_view coding = codings[(choice >> 1U) % 5];
    const std::string_view type = (choice & 1U) != 0 ? "text/event-stream" : "application/json";

    kw::usage::scanner whole;
    whole.configure(type, coding);
    whole.feed(body);
    whole.finish(true);
    check(whole.result().tokens);

    kw::usage::scanner pieces;
    pieces.configure(type, coding);
    const std::size_t step = 1 + choice % 7;
    for (std::size_t at = 0; at < body.size(); at += step)
        pieces.feed(body.substr(at, step));
    pieces.finish(true);
    if (coding.empty()) {
        require(pieces.result().tokens == whole.result().tokens);
        require(pieces.result().finished == whole.result().finished);
    }

    kw::usage::scanner events;
    events.on_event(body);
    check(events.result().tokens);

    if (const auto fields = kw::usage::read_request_fields(body)) {
        kw::usage::splice_list edits;
        if (auto s = kw::usage::plan_include_usage(*fields)) edits.add(std::move(*s));
        if (auto s = kw::usage::plan_model(*fields, "other")) edits.add(std::move(*s));
        const auto again = kw::usage::read_request_fields(edits.apply(body));
        require(again.has_value());
        require(fields->model_value.empty() || again->model == "other");
    }
    (void)kw::usage::read_multipart_fields(body, "multipart/form-data; boundary=B");
    return 0;
}
