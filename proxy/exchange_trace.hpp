// The spans of one exchange: one for the client's request, and one for each try at an upstream.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/ids.hpp"
#include "core/spans.hpp"
#include "store/types.hpp"

namespace kw::proxy {

// Where a try goes.
struct traced_try {
    std::string_view model;
    std::string_view provider;
    std::string_view group;
    std::string_view key;  // its alias
    std::string_view host;
    std::uint16_t port = 0;
};

// Only made for an exchange that is traced.
class exchange_trace {
  public:
    // `sent`: the client's traceparent.
    exchange_trace(std::optional<trace_parent> sent, wall_time now, random_source& random);

    // Whether a request is traced: the client's flag says, or chance (of a million).
    [[nodiscard]] static bool wanted(const std::optional<trace_parent>& sent, std::int64_t ppm,
                                     random_source& random) noexcept;

    void begin_try(const traced_try& to, std::string_view endpoint, wall_time now);
    // Of the try under way; `failure` is "" for an answer.
    void end_try(std::uint16_t status, std::string_view failure, wall_time now);
    // What the upstream's `traceparent` is to be; "": the client sent none.
    [[nodiscard]] std::string upstream_traceparent() const;
    // All spans of the exchange.
    [[nodiscard]] std::vector<span> finish(const store::ledger_record& record,
                                           std::string_view method, wall_time now);

  private:
    [[nodiscard]] span_id make_id();

    random_source& random_;
    bool continued_;
    bool try_open_ = false;
    span request_;
    std::vector<span> tries_;
};

}  // namespace kw::proxy
