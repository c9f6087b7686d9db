// The probe call and what its answer means.
#include "jobs/prober.hpp"

#include "core/log.hpp"
#include "net/http_client.hpp"

namespace kw::jobs {

void prober::run_due(const std::function<pool::key_ptr(const std::string&)>& find,
                     const std::function<probe_target(const pool::upstream_key&)>& target) {
    for (const pool::slot_id slot : health_.due_probes(clock_.mono())) {
        pool::key_ptr key = find(states_.key_id(slot));
        if (!key || key->value.empty()) {
            health_.on_probe_result(slot, pool::probe_outcome::inconclusive, clock_.mono(),
                                    clock_.wall());
            continue;
        }
        probe_target to = target(*key);
        net::spawn("probe", probe(slot, std::move(key), std::move(to)));
    }
}

net::task<void> prober::probe(pool::slot_id slot, pool::key_ptr key, probe_target target) {
    net::http_request r;
    r.url = target.url;
    r.credential = {target.header, secret(target.value_prefix + std::string(key->value.reveal()))};
    r.deadline = loop_.now() + timeout_;
    r.tls = target.tls;
    auto answer = co_await net::request(loop_, dns_, std::move(r));
    auto outcome = pool::probe_outcome::inconclusive;
    int status = 0;
    if (answer) {
        status = answer->status;
        if (status == 200) outcome = pool::probe_outcome::passed;
        if (status == 401 || status == 402) outcome = pool::probe_outcome::failed;
    }
    health_.on_probe_result(slot, outcome, clock_.mono(), clock_.wall());
    log::event(log::level::info, "key.probed",
               {{"key", key->alias},
                {"status", status},
                {"outcome", outcome == pool::probe_outcome::passed   ? "passed"
                            : outcome == pool::probe_outcome::failed ? "failed"
                                                                     : "inconclusive"}});
}

}  // namespace kw::jobs
