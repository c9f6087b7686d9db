// OTLP/JSON: ids in hexadecimal, times and whole numbers as texts.
#include "jobs/span_exporter.hpp"

#include "core/crypto.hpp"
#include "core/json_writer.hpp"
#include "core/log.hpp"
#include "net/url.hpp"

namespace kw::jobs {
namespace {

constexpr std::size_t batch = 512;  // spans of one request

enum class span_kind : int { server = 2, client = 3 };
constexpr int status_error = 2;

std::string nanoseconds(wall_time t) {
    return std::to_string(t.time_since_epoch().count());
}

void write_text(json_writer& w, std::string_view name, std::string_view value) {
    w.begin_object().field("key", name).key("value").begin_object();
    w.field("stringValue", value).end_object().end_object();
}

void write_span(json_writer& w, const span& s) {
    w.begin_object()
        .field("traceId", crypto::to_hex(s.trace))
        .field("spanId", crypto::to_hex(s.id));
    if (s.parent != span_id{}) w.field("parentSpanId", crypto::to_hex(s.parent));
    w.field("name", s.name)
        .field("kind", static_cast<int>(s.outgoing ? span_kind::client : span_kind::server))
        .field("startTimeUnixNano", nanoseconds(s.start))
        .field("endTimeUnixNano", nanoseconds(s.end));
    w.key("attributes").begin_array();
    for (const auto& a : s.attributes) {
        if (const auto* text = std::get_if<std::string>(&a.value)) {
            write_text(w, a.name, *text);
            continue;
        }
        w.begin_object().field("key", a.name).key("value").begin_object();
        w.field("intValue", std::to_string(std::get<std::int64_t>(a.value)))
            .end_object()
            .end_object();
    }
    w.end_array().key("status").begin_object();
    if (s.failed) w.field("code", status_error);
    w.end_object().end_object();
}

}  // namespace

std::string to_otlp(const std::vector<span>& spans, std::string_view service,
                    std::string_view version, std::string_view instance) {
    std::string out;
    json_writer w(out);
    w.begin_object().key("resourceSpans").begin_array().begin_object();
    w.key("resource").begin_object().key("attributes").begin_array();
    write_text(w, "service.name", service);
    write_text(w, "service.version", version);
    write_text(w, "service.instance.id", instance);
    w.end_array().end_object();
    w.key("scopeSpans").begin_array().begin_object();
    w.key("scope").begin_object().field("name", "keywheel").field("version", version).end_object();
    w.key("spans").begin_array();
    for (const auto& s : spans)
        write_span(w, s);
    w.end_array().end_object().end_array().end_object().end_array().end_object();
    return out;
}

std::optional<std::vector<std::pair<std::string, std::string>>> parse_otlp_headers(
    std::string_view text) {
    std::vector<std::pair<std::string, std::string>> out;
    while (!text.empty()) {
        const auto end = std::min(text.find(','), text.size());
        auto item = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        const auto trim = [](std::string_view s) {
            while (s.starts_with(' '))
                s.remove_prefix(1);
            while (s.ends_with(' '))
                s.remove_suffix(1);
            return s;
        };
        item = trim(item);
        if (item.empty()) continue;
        const auto equals = item.find('=');
        if (equals == std::string_view::npos || equals == 0) return std::nullopt;
        auto value = net::percent_decode(trim(item.substr(equals + 1)));
        if (!value) return std::nullopt;
        out.emplace_back(std::string(trim(item.substr(0, equals))), std::move(*value));
    }
    return out;
}

std::string traces_url(const config::tracing_settings& settings) {
    if (!settings.traces_endpoint.empty()) return settings.traces_endpoint;
    std::string base = settings.endpoint;
    if (base.empty()) return base;
    while (base.ends_with('/'))
        base.pop_back();
    return base + "/v1/traces";
}

span_exporter::span_exporter(span_queue& from, const clock_source& clock,
                             metrics::registry& registry, caller call, std::string version,
                             std::string instance)
    : queue_(from),
      clock_(clock),
      call_(std::move(call)),
      version_(std::move(version)),
      instance_(std::move(instance)),
      exported_(registry.counter("keywheel_spans_exported_total",
                                 "Spans of traces that the collector took.")),
      lost_(registry.counter("keywheel_spans_lost_total",
                             "Spans of traces that the collector did not take.")),
      dropped_(registry.gauge("keywheel_spans_dropped",
                              "Spans of traces for which there was no room, since the start.")) {}

void span_exporter::round(const config::tracing_settings& settings) {
    const bool on = !traces_url(settings).empty();
    queue_.set(on, settings.queue_size);
    dropped_.set(static_cast<double>(queue_.dropped()));
    const auto now = clock_.mono();
    if (!on) drop_waiting();
    if (!on || busy_) return;
    const bool full = !failed_ && queue_.waiting() >= batch;
    if (now < next_ && !full) return;
    next_ = now + settings.interval;
    busy_ = true;
    work_.reset();
    work_.start("traces", send_all(settings));
}

// Nobody wants them any more; another endpoint is not to have them later.
void span_exporter::drop_waiting() {
    for (auto spans = queue_.take(batch); !spans.empty(); spans = queue_.take(batch))
        lost_.add(static_cast<std::int64_t>(spans.size()));
}

// Until nothing waits, or the collector does not answer.
net::task<void> span_exporter::send_all(config::tracing_settings settings) {
    const auto headers = parse_otlp_headers(settings.headers.reveal());
    failed_ = false;
    for (;;) {
        const auto spans = queue_.take(batch);
        if (spans.empty()) break;
        bool taken = false;
        std::string why = headers ? std::string() : std::string("tracing.headers is malformed");
        for (int tries = 0; headers && !taken && tries < 2; ++tries) {
            net::http_request r;
            r.method = "POST";
            r.url = traces_url(settings);
            r.headers = *headers;
            r.headers.emplace_back("Content-Type", "application/json");
            r.body = to_otlp(spans, settings.service_name, version_, instance_);
            r.deadline = clock_.mono() + settings.timeout;
            const auto status = co_await call_(std::move(r));
            taken = status && *status >= 200 && *status < 300;
            if (taken) break;
            why = status ? "status " + std::to_string(*status)
                         : std::string(to_string(status.error().code));
            // What it refuses it refuses again.
            if (status && *status < 500 && *status != 429 && *status != 408) break;
        }
        (taken ? exported_ : lost_).add(static_cast<std::int64_t>(spans.size()));
        if (taken) continue;
        failed_ = true;
        log::event(log::level::warn, "traces.not_exported",
                   {{"spans", spans.size()}, {"reason", why}});
        break;
    }
    busy_ = false;
}

}  // namespace kw::jobs
