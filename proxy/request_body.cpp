// The reading loop of a kept body.
#include "proxy/request_body.hpp"

#include <algorithm>

#include "proxy/worker.hpp"

namespace kw::proxy {

net::task<result<void>> read_body(worker& w, client_connection& client, net::body_framer& framer,
                                  kept_body& into, std::size_t limit) {
    const auto held = w.hold();  // settings may be replaced while we wait
    const auto& server = (*held)->settings->server;
    const auto budget = static_cast<std::int64_t>(server.max_kept_bytes);
    if (framer.remaining() > limit)
        co_return error(errc::body_too_large,
                        "The request's body is larger than " + std::to_string(limit) + " bytes.",
                        error_source::downstream);
    into.reserve(std::min<std::size_t>(framer.remaining(), 256 * 1024));
    const auto keep = [&](std::string_view payload) { into.append(payload); };
    mono_time deadline = w.loop().now() + server.body_timeout;

    while (!framer.complete()) {
        if (w.shared().now.kept_bytes.load(std::memory_order_relaxed) > budget) {
            const auto got = co_await client.wait.wait(
                net::hangup_a, w.loop().now() + std::chrono::milliseconds(20));
            if (got & net::hangup_a)
                co_return error(errc::client_closed, {}, error_source::downstream);
            if (w.loop().now() < deadline) continue;
            co_return error(errc::overloaded,
                            "Too many request bodies are held in memory; try again shortly.");
        }
        std::string_view data = client.unread();
        const bool from_buffer = !data.empty();
        if (!from_buffer) {
            const auto scratch = w.scratch();
            const auto r = client.stream->read(scratch);
            if (r.would_block()) {
                const auto got =
                    co_await client.wait.wait(client.stream->bit_for(r.status), deadline);
                if (got & net::timed_out)
                    co_return error(errc::body_timeout,
                                    "The request's body did not arrive in time.",
                                    error_source::downstream);
                continue;
            }
            if (!r.ok()) co_return error(errc::client_closed, {}, error_source::downstream);
            data = {scratch.data(), r.bytes};
        }
        deadline = w.loop().now() + server.body_timeout;
        const auto step = framer.consume(data, keep);
        if (from_buffer) {
            client.used += step.consumed;
        } else if (step.consumed < data.size()) {
            client.next.append(data.substr(step.consumed));
        }
        if (step.status == net::body_status::malformed)
            co_return error(errc::malformed_request, "The body's chunked framing is broken.",
                            error_source::downstream);
        if (into.text().size() > limit)
            co_return error(
                errc::body_too_large,
                "The request's body is larger than " + std::to_string(limit) + " bytes.",
                error_source::downstream);
    }
    co_return result<void>{};
}

}  // namespace kw::proxy
