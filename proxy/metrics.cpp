// Names and labels of the data path's metrics.
#include "proxy/metrics.hpp"

namespace kw::proxy {
namespace {

constexpr auto exchanges_help = "Requests, by whether they ended in an error of the server (5xx).";
constexpr auto session_tries = "keywheel_session_tries_total";
constexpr auto session_tries_help =
    "Tries of clients' sessions: on the session's key, on its first, or on another because that "
    "one could not serve.";
constexpr auto session_tokens = "keywheel_session_tokens_total";
constexpr auto session_tokens_help =
    "Input tokens of clients' sessions, and how many of them the upstream had cached.";

}  // namespace

worker_metrics::worker_metrics(metrics::registry& registry)
    : connections(
          registry.counter("keywheel_client_connections_total", "Client connections accepted.")),
      upstream_connections_new(registry.counter("keywheel_upstream_connections_total",
                                                "Upstream connections used, by kind.",
                                                {{"kind", "new"}})),
      upstream_connections_reused(registry.counter("keywheel_upstream_connections_total",
                                                   "Upstream connections used, by kind.",
                                                   {{"kind", "reused"}})),
      records_lost(registry.counter("keywheel_records_lost_total",
                                    "Records of requests that the full journal did not take.")),
      served(registry.counter("keywheel_exchanges_total", exchanges_help, {{"end", "served"}})),
      server_errors(
          registry.counter("keywheel_exchanges_total", exchanges_help, {{"end", "server_error"}})),
      sessions_open(
          registry.gauge("keywheel_client_connections_open", "Client connections open now.")),
      exchanges_running(registry.gauge("keywheel_exchanges_running", "Requests being served now.")),
      sockets_open(registry.gauge("keywheel_websockets_open", "WebSockets open now.")),
      socket_frames_up(registry.counter("keywheel_websocket_frames_total",
                                        "Frames of WebSockets relayed, by whose they are.",
                                        {{"from", "client"}})),
      socket_frames_down(registry.counter("keywheel_websocket_frames_total",
                                          "Frames of WebSockets relayed, by whose they are.",
                                          {{"from", "upstream"}})),
      socket_bytes_up(registry.counter("keywheel_websocket_bytes_total",
                                       "Bytes of WebSockets read, by whose they are.",
                                       {{"from", "client"}})),
      socket_bytes_down(registry.counter("keywheel_websocket_bytes_total",
                                         "Bytes of WebSockets read, by whose they are.",
                                         {{"from", "upstream"}})),
      sessions_kept(registry.counter(session_tries, session_tries_help, {{"key", "kept"}})),
      sessions_new(registry.counter(session_tries, session_tries_help, {{"key", "first"}})),
      sessions_moved(registry.counter(session_tries, session_tries_help, {{"key", "moved"}})),
      session_input(registry.counter(session_tokens, session_tokens_help, {{"class", "input"}})),
      session_cached(
          registry.counter(session_tokens, session_tokens_help, {{"class", "cached_read"}})),
      registry_(registry),
      first_token_(registry.histogram("keywheel_time_to_first_token_seconds",
                                      "From the request's head to the first generated text.",
                                      metrics::latency_bounds())),
      inter_token_(
          registry.histogram("keywheel_inter_token_seconds",
                             "Gap between the tokens of a stream after the first, its mean.",
                             metrics::latency_bounds())),
      overhead_(registry.histogram("keywheel_overhead_seconds",
                                   "Time of a request spent in keywheel itself.",
                                   metrics::overhead_bounds())) {}

void worker_metrics::count(const store::ledger_record& r, const std::string& key,
                           std::int64_t first_token_us) {
    auto& group = by_group_[{r.endpoint, r.status, r.group_id}];
    if (!group.requests) {
        const std::string status = std::to_string(r.status);
        group.requests = &registry_.counter(
            "keywheel_requests_total", "Requests that were answered.",
            {{"endpoint", r.endpoint}, {"status", status}, {"group", r.group_id}});
        group.latency = &registry_.histogram(
            "keywheel_request_duration_seconds", "From the request's head to the answer's end.",
            metrics::latency_bounds(), {{"endpoint", r.endpoint}, {"group", r.group_id}});
    }
    group.requests->add();
    (r.status >= 500 ? server_errors : served).add();
    group.latency->observe(static_cast<double>(r.total_us) * 1e-6);
    if (first_token_us > 0) {
        first_token_.observe(static_cast<double>(first_token_us) * 1e-6);
        if (r.end == store::exchange_end::completed && r.tokens.output > 1)
            inter_token_.observe(static_cast<double>(r.total_us - first_token_us) * 1e-6 /
                                 static_cast<double>(r.tokens.output - 1));
    }
    if (r.attempts > 0) overhead_.observe(static_cast<double>(r.overhead_us) * 1e-6);

    if (!key.empty()) {
        auto it = by_key_.find(key);
        if (it == by_key_.end()) {
            it = by_key_
                     .emplace(key, &registry_.counter("keywheel_upstream_key_requests_total",
                                                      "Requests by upstream key.",
                                                      {{"key", key}, {"group", r.group_id}}))
                     .first;
        }
        it->second->add();
    }
    count_usage(r);
}

void worker_metrics::count_usage(const store::ledger_record& r) {
    if (r.tokens.total() == 0 && !r.cost) return;
    const bool full = by_model_.size() >= max_models;
    const std::string& name = r.model_served.empty() ? r.model_asked : r.model_served;
    auto it = by_model_.find(name);
    if (it == by_model_.end()) {
        const std::string label = full ? std::string("other") : name;
        it = by_model_.try_emplace(label).first;
        model_series& m = it->second;
        if (!m.input) {
            constexpr auto tokens = "keywheel_tokens_total";
            constexpr auto tokens_help = "Tokens booked, by class.";
            m.input =
                &registry_.counter(tokens, tokens_help, {{"model", label}, {"class", "input"}});
            m.output =
                &registry_.counter(tokens, tokens_help, {{"model", label}, {"class", "output"}});
            m.cached = &registry_.counter(tokens, tokens_help,
                                          {{"model", label}, {"class", "cached_read"}});
            constexpr auto cost = "keywheel_cost_dollars_total";
            constexpr auto cost_help = "Cost booked, in US dollars.";
            m.cost = &registry_.counter(cost, cost_help, {{"model", label}, {"kind", "real"}},
                                        metrics::scale::nano);
            m.rated_cost = &registry_.counter(
                cost, cost_help, {{"model", label}, {"kind", "rated"}}, metrics::scale::nano);
            m.unpriced =
                &registry_.counter("keywheel_unpriced_requests_total",
                                   "Requests with tokens but no known price.", {{"model", label}});
        }
    }
    model_series& m = it->second;
    m.input->add(r.tokens.input);
    m.output->add(r.tokens.output);
    m.cached->add(r.tokens.cached_read);
    if (r.cost) {
        m.cost->add(*r.cost);
        m.rated_cost->add(r.rated_cost.value_or(*r.cost));
    } else {
        m.unpriced->add();
    }
}

void worker_metrics::count_session(const store::token_counts& tokens) {
    session_input.add(tokens.input);
    session_cached.add(tokens.cached_read);
}

void worker_metrics::count_attempt_failed(std::string_view failure) {
    auto it = failures_.find(failure);
    if (it == failures_.end()) {
        it = failures_
                 .emplace(failure,
                          &registry_.counter("keywheel_attempt_failures_total",
                                             "Tries that failed, by kind.", {{"failure", failure}}))
                 .first;
    }
    it->second->add();
}

void worker_metrics::count_refused_head(std::uint16_t status) {
    const std::string text = std::to_string(status);
    registry_
        .counter("keywheel_refused_heads_total",
                 "Requests whose head was malformed or out of bounds.", {{"status", text}})
        .add();
}

}  // namespace kw::proxy
