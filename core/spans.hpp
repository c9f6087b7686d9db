// Spans of traces on their way from the workers to the exporter, and the context that a client's
// `traceparent` carries (W3C Trace Context).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/clock.hpp"

namespace kw {

using trace_id = std::array<std::uint8_t, 16>;
using span_id = std::array<std::uint8_t, 8>;  // all zero: none

struct trace_parent {
    trace_id trace{};
    span_id span{};
    bool sampled = false;
};
// None: malformed, or of all zeros.
[[nodiscard]] std::optional<trace_parent> parse_traceparent(std::string_view text) noexcept;
[[nodiscard]] std::string to_string(const trace_parent& p);

// A finished one. Attributes' names are literals; values hold no secret and nothing of what was
// asked or answered but the names of models. Whatever a client sends, a span stays small.
struct span {
    static constexpr std::size_t max_text = 256;  // bytes
    // As much of a text as a span keeps; characters of UTF-8 stay whole.
    [[nodiscard]] static std::string_view cut(std::string_view text) noexcept;

    struct attribute {
        std::string_view name;
        std::variant<std::string, std::int64_t> value;
    };
    trace_id trace{};
    span_id id{};
    span_id parent{};
    bool outgoing = false;  // a try at an upstream; else a client's request
    bool failed = false;
    std::string name;  // cut
    wall_time start{};
    wall_time end{};
    std::vector<attribute> attributes;

    // Empty texts are left out.
    void set(std::string_view attribute_name, std::string_view text) {
        if (!text.empty()) attributes.push_back({attribute_name, std::string(cut(text))});
    }
    void set(std::string_view attribute_name, std::int64_t number) {
        attributes.push_back({attribute_name, number});
    }
};

// Bounded; what does not fit is dropped and counted. Any thread.
class span_queue {
  public:
    // Whether anybody wants spans.
    [[nodiscard]] bool on() const noexcept { return on_.load(std::memory_order_relaxed); }
    void set(bool on, std::size_t most) noexcept;

    void push(std::vector<span> done);
    // At most so many, oldest first.
    [[nodiscard]] std::vector<span> take(std::size_t most);
    [[nodiscard]] std::size_t waiting();
    [[nodiscard]] bool empty() { return waiting() == 0; }
    [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(); }

  private:
    std::atomic<bool> on_{false};
    std::atomic<std::size_t> most_{0};
    std::atomic<std::uint64_t> dropped_{0};
    std::mutex mutex_;
    std::deque<span> waiting_;
};

}  // namespace kw
