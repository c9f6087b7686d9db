// The probe call and what its answer means.
#include "jobs/prober.hpp"

#include "core/log.hpp"
#include "net/http_client.hpp"

namespace kw::jobs {

std::string_view to_string(pool::probe_outcome outcome) noexcept {
    switch (outcome) {
        case pool::probe_outcome::passed:
            return "passed";
        case pool::probe_outcome::failed:
            return "failed";
        case pool::probe_outcome::inconclusive:
            break;
    }
    return "inconclusive";
}

net::task<probe_answer> probe(net::loop& on, net::dns_cache& dns, probe_subject subject,
                              std::chrono::milliseconds timeout) {
    net::http_request r;
    r.url = subject.target.url;
    r.credential = {subject.target.header,
                    secret(subject.target.value_prefix + std::string(subject.key->value.reveal()))};
    r.deadline = on.now() + timeout;
    r.tls = subject.target.tls;
    r.proxy = subject.target.proxy;
    const auto answer = co_await net::request(on, dns, std::move(r));
    probe_answer out;
    if (!answer) {
        out.failure = answer.error().code;
        co_return out;
    }
    out.status = answer->status;
    if (out.status == 200) out.outcome = pool::probe_outcome::passed;
    if (out.status == 401 || out.status == 402) out.outcome = pool::probe_outcome::failed;
    co_return out;
}

void prober::run_due() {
    for (const pool::slot_id slot : health_.due_probes(clock_.mono())) {
        auto subject = find_(states_.key_id(slot));
        if (!subject) {
            health_.on_probe_result(slot, pool::probe_outcome::inconclusive, clock_.mono(),
                                    clock_.wall());
            continue;
        }
        net::spawn("probe", run(slot, std::move(*subject)));
    }
}

net::task<void> prober::run(pool::slot_id slot, probe_subject subject) {
    const std::string alias = subject.key->alias;
    const probe_answer answer = co_await call_(std::move(subject));
    health_.on_probe_result(slot, answer.outcome, clock_.mono(), clock_.wall());
    log::event(log::level::info, "key.probed",
               {{"key", alias}, {"status", answer.status}, {"outcome", to_string(answer.outcome)}});
}

}  // namespace kw::jobs
