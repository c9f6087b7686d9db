// Attributes by OpenTelemetry's conventions for HTTP and generative AI.
#include "proxy/exchange_trace.hpp"

#include <cstring>

namespace kw::proxy {
namespace {

constexpr std::size_t max_tries = 16;

std::string_view operation_of(std::string_view endpoint) noexcept {
    if (endpoint == "chat" || endpoint == "responses" || endpoint == "messages") return "chat";
    if (endpoint == "completions") return "text_completion";
    return endpoint;
}

std::string_view provider_of(std::string_view provider) noexcept {
    if (provider == "gemini" || provider == "google") return "gcp.gemini";
    if (provider == "azure") return "azure.ai.openai";
    return provider;
}

void set_usage(span& on, const store::ledger_record& r) {
    on.set("gen_ai.response.model", r.model_served);
    if (r.outcome == store::usage_outcome::none) return;
    on.set("gen_ai.usage.input_tokens", r.tokens.input);
    on.set("gen_ai.usage.output_tokens", r.tokens.output);
    if (r.tokens.cached_read > 0)
        on.set("gen_ai.usage.cache_read.input_tokens", r.tokens.cached_read);
}

}  // namespace

bool exchange_trace::wanted(const std::optional<trace_parent>& sent, std::int64_t ppm,
                            random_source& random) noexcept {
    if (sent) return sent->sampled;
    return ppm > 0 && static_cast<std::int64_t>(random.below(1'000'000)) < ppm;
}

exchange_trace::exchange_trace(std::optional<trace_parent> sent, wall_time now,
                               random_source& random)
    : random_(random), continued_(sent.has_value()) {
    if (sent) {
        request_.trace = sent->trace;
        request_.parent = sent->span;
    } else {
        for (std::size_t i = 0; i < request_.trace.size(); i += sizeof(std::uint64_t)) {
            const auto bits = random_.next();
            std::memcpy(request_.trace.data() + i, &bits, sizeof bits);
        }
        request_.trace.front() |= 1U;  // all zeros would be no trace
    }
    request_.id = make_id();
    request_.start = now;
}

span_id exchange_trace::make_id() {
    const std::uint64_t bits = random_.next() | 1U;
    span_id id;
    std::memcpy(id.data(), &bits, sizeof bits);
    return id;
}

void exchange_trace::begin_try(const traced_try& to, std::string_view endpoint, wall_time now) {
    end_try(0, {}, now);
    if (tries_.size() >= max_tries) return;
    auto& t = tries_.emplace_back();
    t.trace = request_.trace;
    t.id = make_id();
    t.parent = request_.id;
    t.outgoing = true;
    t.start = now;
    const auto operation = operation_of(endpoint);
    std::string name(operation);
    if (!to.model.empty()) name.append(" ").append(span::cut(to.model));
    t.name = span::cut(name);
    t.set("gen_ai.operation.name", operation);
    t.set("gen_ai.provider.name", provider_of(to.provider));
    t.set("gen_ai.request.model", to.model);
    t.set("server.address", to.host);
    t.set("server.port", to.port);
    t.set("keywheel.group", to.group);
    t.set("keywheel.upstream_key", to.key);
    try_open_ = true;
}

void exchange_trace::end_try(std::uint16_t status, std::string_view failure, wall_time now) {
    if (!try_open_) return;
    try_open_ = false;
    auto& t = tries_.back();
    t.end = now;
    if (status != 0) t.set("http.response.status_code", status);
    t.failed = !failure.empty() || status >= 400;
    if (!t.failed) return;
    t.set("error.type", failure.empty() ? std::to_string(status) : std::string(failure));
}

std::string exchange_trace::upstream_traceparent() const {
    if (!continued_ || !try_open_) return {};
    return to_string(trace_parent{request_.trace, tries_.back().id, true});
}

std::vector<span> exchange_trace::finish(const store::ledger_record& r, std::string_view method,
                                         wall_time now) {
    const bool answered = r.end == store::exchange_end::completed;
    if (try_open_) {
        if (answered) set_usage(tries_.back(), r);
        end_try(r.status == 499 ? std::uint16_t{0} : r.status,
                answered ? std::string_view() : std::string_view(r.error_code), now);
    }
    request_.end = now;
    request_.name = span::cut(std::string(span::cut(method)) + " " + r.endpoint);
    request_.failed = r.status >= 500 || r.end == store::exchange_end::upstream_cut;
    request_.set("http.request.method", method);
    request_.set("http.response.status_code", r.status);
    request_.set("gen_ai.operation.name", operation_of(r.endpoint));
    request_.set("gen_ai.provider.name", provider_of(r.provider));
    request_.set("gen_ai.request.model", r.model_asked);
    set_usage(request_, r);
    request_.set("error.type", r.error_code);
    request_.set("keywheel.request_id", r.id);
    request_.set("keywheel.access_key_id", r.access_key_id);
    request_.set("keywheel.attempts", r.attempts);
    request_.set("keywheel.overhead_us", r.overhead_us);
    std::vector<span> out = std::move(tries_);
    out.push_back(std::move(request_));
    return out;
}

}  // namespace kw::proxy
