// What a request gets: faults written as text, from a header, a rule, an account or a model's name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mock/request.hpp"

namespace kw::mock {

// How the answer ends badly, if it does.
enum class ending : std::uint8_t { good, fin, rst, clean };

struct behaviour {
    // Shape. Negative: the default.
    int pace_ms = -1;
    int tokens = -1;
    int delay_ms = -1;
    int first_ms = -1;

    // A refusal instead of an answer: status above 0.
    int status = 0;
    std::string code;  // error.code where the status has several
    header_list headers;
    bool html = false;

    bool silent = false;
    bool reset = false;
    bool close = false;
    std::uint64_t bytes_allowed = unlimited;
    bool bytes_then_reset = false;
    int cut_after = -1;
    ending how = ending::good;
    int stall_after = -1;
    int stall_ms = 30'000;
    bool hang = false;
    int bad_json_after = -1;
    int error_after = -1;
    bool no_done = false;
    bool hang_at_end = false;
    bool no_usage = false;
    bool usage_last = false;
    bool content_filter = false;
    bool refuse_prefill = false;
    bool bom = false;
    bool crlf = false;
    bool comments = false;
    std::uint64_t slices = 0;
    std::uint64_t huge_event = 0;
    std::string malformed;
    bool endless_headers = false;
    bool endless_1xx = false;
    std::uint64_t big = 0;
    std::uint64_t stop_reading = unlimited;
    int early = 0;
    int keep_alive = -1;
    bool conn_close = false;
    bool ok = false;

    // When it applies; counted by whoever chose it.
    std::int64_t first_n = -1;
    std::int64_t for_ms = -1;
    std::int64_t every = -1;

    [[nodiscard]] bool conditional() const noexcept {
        return first_n >= 0 || for_ms >= 0 || every >= 0;
    }
    // The same without its faults: shape alone stays when the condition does not hold.
    [[nodiscard]] behaviour healthy() const;
};

// "name;arg, name;arg": false if a name is unknown.
[[nodiscard]] bool parse_faults(std::string_view text, behaviour& into);
// "mock-…" and the scenario names; false for any other model.
[[nodiscard]] bool parse_model(std::string_view model, behaviour& into);

}  // namespace kw::mock
