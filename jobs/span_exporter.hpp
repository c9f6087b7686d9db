// Sends finished spans to a collector: OTLP over HTTP, in JSON, in batches, on the control thread's
// loop. What a collector does not take is tried once more and then dropped and counted.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/metrics.hpp"
#include "core/spans.hpp"
#include "net/http_client.hpp"
#include "net/task.hpp"

namespace kw::jobs {

// An ExportTraceServiceRequest. `service` and `instance` name the process.
[[nodiscard]] std::string to_otlp(const std::vector<span>& spans, std::string_view service,
                                  std::string_view version, std::string_view instance);

// "name=value,name=value", values percent-encoded; none: malformed.
[[nodiscard]] std::optional<std::vector<std::pair<std::string, std::string>>> parse_otlp_headers(
    std::string_view text);

// Where traces go; "": nowhere.
[[nodiscard]] std::string traces_url(const config::tracing_settings& settings);

// Control thread only. What it is made of outlives it.
class span_exporter {
  public:
    // Sends one request; its status.
    using caller = std::function<net::task<result<int>>(net::http_request)>;

    span_exporter(span_queue& from, const clock_source& clock, metrics::registry& registry,
                  caller call, std::string version, std::string instance);

    // Often: takes over the settings, begins an export where it is time to, or where as many wait
    // as go into a request, unless the collector did not take the last one.
    void round(const config::tracing_settings& settings);
    // At once, at the end.
    void flush(const config::tracing_settings& settings) {
        next_ = {};
        round(settings);
    }
    // Nothing is under way.
    [[nodiscard]] bool idle() const noexcept { return !busy_; }

  private:
    void drop_waiting();
    net::task<void> send_all(config::tracing_settings settings);

    span_queue& queue_;
    const clock_source& clock_;
    caller call_;
    std::string version_;
    std::string instance_;
    metrics::counter& exported_;
    metrics::counter& lost_;
    metrics::gauge& dropped_;
    mono_time next_{};
    bool busy_ = false;
    bool failed_ = false;  // the last export
    net::owned_root work_;
};

}  // namespace kw::jobs
