// The reading loop of a kept body.
#include "proxy/request_body.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t first_growth = 16 * 1024;
constexpr std::size_t plenty_at_once = 256 * 1024;
// Chunk framing takes up room of a read too: with less than this the next growth comes first.
constexpr std::size_t least_room = 512;
constexpr auto pass_patience = 1s;

error too_large(std::size_t limit) {
    return error(errc::body_too_large,
                 "The request's body is larger than " + std::to_string(limit) + " bytes.",
                 error_source::downstream);
}

}  // namespace

void kept_body::enlarge(std::size_t bytes) {
    char* const before = bytes_.release();
    void* const moved = std::realloc(before, capacity_ + bytes);
    bytes_.reset(moved == nullptr ? before : static_cast<char*>(moved));
    if (moved == nullptr) throw std::bad_alloc();
    capacity_ += bytes;
}

void kept_body::append(std::string_view piece) noexcept {
    std::memcpy(bytes_.get() + size_, piece.data(), piece.size());
    size_ += piece.size();
}

void kept_body::release() noexcept {
    bytes_.reset();
    size_ = capacity_ = 0;
    share_.release();
}

std::size_t next_growth(std::size_t held, std::size_t total, bool known,
                        const memory_budget& budget) noexcept {
    const std::size_t missing = total - std::min(total, held);
    const bool plenty = budget.used() < budget.limit() / 2;
    if (known && plenty && missing <= plenty_at_once) return missing;
    return std::min(missing, std::max(held, first_growth));
}

net::task<result<void>> read_body(worker& w, client_connection& client, net::body_framer& framer,
                                  kept_body& into, std::size_t limit) {
    const auto held = w.hold();  // settings may be replaced while we wait
    const auto& server = (*held)->settings->server;
    const memory_budget& budget = into.share().budget();
    limit = std::min(limit, static_cast<std::size_t>(budget.limit()));
    const bool known = framer.remaining() > 0;
    if (framer.remaining() > limit) co_return too_large(limit);
    // One byte more shows that a body of unknown length is too long.
    const std::size_t total = known ? static_cast<std::size_t>(framer.remaining()) : limit + 1;
    const auto keep = [&](std::string_view payload) { into.append(payload); };
    mono_time deadline = w.loop().now() + server.body_timeout;
    unsigned reads = 0;  // since the last wait

    while (!framer.complete()) {
        const std::size_t left = total - into.text().size();
        if (into.room() < std::min(left, known ? std::size_t{1} : least_room)) {
            const std::size_t more = next_growth(into.capacity(), total, known, budget);
            if (!into.share().try_grow(more)) {
                const auto answer = co_await into.share().grow(
                    client.wait, more, w.loop().now() + server.body_timeout, net::hangup_a);
                if (answer == memory_answer::given_up)
                    co_return error(errc::client_closed, {}, error_source::downstream);
                if (answer == memory_answer::too_late)
                    co_return error(
                        errc::overloaded,
                        "Too many request bodies are held in memory; try again shortly.");
                deadline = w.loop().now() + server.body_timeout;
            }
            into.enlarge(more);
        }
        // Never more than there is room for; of a body whose length is known, nothing behind it.
        const std::size_t most = std::min<std::size_t>(into.room(), left);
        std::string_view data = client.unread().substr(0, most);
        const bool from_buffer = !data.empty();
        if (!from_buffer) {
            if (++reads > reads_in_a_row) {
                reads = 0;
                co_await client.wait.yield();
            }
            const auto scratch = w.scratch();
            const auto r = client.stream->read(scratch.first(std::min(scratch.size(), most)));
            if (r.would_block()) {
                reads = 0;
                const bool passing = into.share().has_pass();
                const mono_time until =
                    passing ? std::min(deadline, w.loop().now() + pass_patience) : deadline;
                const auto got = co_await client.wait.wait(client.stream->bit_for(r.status), until);
                if ((got & net::timed_out) == 0) continue;
                if (w.loop().now() >= deadline)
                    co_return error(errc::body_timeout,
                                    "The request's body did not arrive in time.",
                                    error_source::downstream);
                into.share().give_pass();
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
        if (into.text().size() > limit) co_return too_large(limit);
    }
    into.share().give_pass();
    co_return result<void>{};
}

}  // namespace kw::proxy
