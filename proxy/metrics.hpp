// The data path's metrics, looked up once and then counted without a lock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "core/metrics.hpp"
#include "store/types.hpp"

namespace kw::proxy {

// One per worker.
class worker_metrics {
  public:
    explicit worker_metrics(metrics::registry& registry);

    // One exchange has ended. first_token_us: 0 when there was none. key: the upstream key's alias.
    void count(const store::ledger_record& record, const std::string& key,
               std::int64_t first_token_us);
    // What a record of work that was ordered earlier adds.
    void count_usage(const store::ledger_record& record);
    void count_attempt_failed(std::string_view failure);
    void count_refused_head(std::uint16_t status);
    // An exchange of a client's session has ended.
    void count_session(const store::token_counts& tokens);

    metrics::counter& connections;
    metrics::counter& upstream_connections_new;
    metrics::counter& upstream_connections_reused;
    metrics::counter& records_lost;
    metrics::counter& served;
    metrics::counter& server_errors;
    metrics::gauge& sessions_open;
    metrics::gauge& exchanges_running;
    metrics::gauge& sockets_open;
    metrics::counter& socket_frames_up;  // from clients
    metrics::counter& socket_frames_down;
    metrics::counter& socket_bytes_up;
    metrics::counter& socket_bytes_down;
    metrics::counter& sessions_kept;   // tries on the session's key
    metrics::counter& sessions_new;    // …of a session that had none
    metrics::counter& sessions_moved;  // …that had one, which could not serve
    metrics::counter& session_input;   // tokens
    metrics::counter& session_cached;

  private:
    // Endpoint, status and group are few; the model is bounded by the registry.
    struct group_series {
        metrics::counter* requests = nullptr;
        metrics::histogram* latency = nullptr;
    };
    struct model_series {
        metrics::counter* input = nullptr;
        metrics::counter* output = nullptr;
        metrics::counter* cached = nullptr;
        metrics::counter* cost = nullptr;
        metrics::counter* rated_cost = nullptr;
        metrics::counter* unpriced = nullptr;
    };

    static constexpr std::size_t max_models = 1000;  // per worker; above it they are "other"

    metrics::registry& registry_;
    metrics::histogram& first_token_;
    metrics::histogram& inter_token_;
    metrics::histogram& overhead_;
    std::map<std::tuple<std::string, std::uint16_t, std::string>, group_series> by_group_;
    std::map<std::string, model_series, std::less<>> by_model_;
    std::map<std::string, metrics::counter*, std::less<>> by_key_;
    std::map<std::string, metrics::counter*, std::less<>> failures_;
};

}  // namespace kw::proxy
