// Records, the change feed, state and the looks at Redis' own settings.
#include "store/redis/redis_store.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "store/paging.hpp"

namespace kw::store {
namespace redis {
namespace {

error strange(const reply& r) {
    return error(errc::internal, "Redis: " + (r.is_error() ? r.text : "an unexpected answer"),
                 error_source::store);
}

// "revision json"
bool read_record(std::string_view stored, record& r) {
    const auto* const end = stored.data() + stored.size();
    const auto [at, ec] = std::from_chars(stored.data(), end, r.revision);
    if (ec != std::errc() || at == end) return false;
    r.json.assign(at + 1, end);
    return true;
}

std::int64_t microseconds_of(wall_time t) {
    return std::chrono::floor<std::chrono::microseconds>(t.time_since_epoch()).count();
}

result<std::uint64_t> read_write(const reply& a, std::string_view kind, std::string_view id,
                                 std::uint64_t* current) {
    if (a.items.size() != 2) return strange(a);
    const auto revision = static_cast<std::uint64_t>(a.items[1].as_number());
    if (a.items[0].text == "ok") return revision;
    if (current != nullptr) *current = revision;
    if (a.items[0].text == "missing") return not_found(kind, id);
    return conflict(kind, id);
}

}  // namespace

redis_store::redis_store(target to, const redis_options& options, const clock_source& clock)
    : to_(std::move(to)),
      options_(options),
      clock_(clock),
      board_(clock, to_.name()),
      control_(to_, options_, board_),
      ledger_(to_, options_, board_),
      feed_(to_, options_, board_),
      keys_(to_, options_, board_),
      interrupt_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

std::string redis_store::global(std::string_view name, std::string_view rest) const {
    return options_.prefix + "{m}:" + std::string(name) + std::string(rest);
}

std::string redis_store::sharded(std::size_t shard, std::string_view rest) const {
    return options_.prefix + "{" + std::to_string(shard) + "}:" + std::string(rest);
}

void redis_store::add_write(pipeline& to, std::string_view kind, std::string_view id,
                            std::uint64_t expected, std::string_view json, bool erase,
                            const audit_entry* trail) {
    std::vector keys{global("rec:", kind), global("ids:", kind), global("rev"), global("feed")};
    std::vector arguments{std::string(id),
                          std::to_string(expected),
                          std::string(json),
                          std::string(erase ? "1" : "0"),
                          std::string(kind) + ":" + std::string(id),
                          global("feed")};
    if (trail != nullptr) {
        keys.insert(keys.end(), {global("audit"), global("audited")});
        arguments.insert(arguments.end(), {trail->id, std::to_string(microseconds_of(trail->at)),
                                           trail->json, std::to_string(options_.keep.max_audit)});
    }
    control_.add_script(to, script::change_record, keys, arguments);
}

result<std::uint64_t> redis_store::write_record(std::string_view kind, std::string_view id,
                                                std::uint64_t expected, std::string_view json,
                                                bool erase, std::uint64_t* current) {
    pipeline ask;
    add_write(ask, kind, id, expected, json, erase);
    const auto answers = control_.call(ask);
    if (!answers) return answers.error();
    return read_write(answers->front(), kind, id, current);
}

std::vector<result<std::uint64_t>> redis_store::write_all(std::span<const change> writes) {
    constexpr std::size_t in_one_call = 250;
    std::vector<result<std::uint64_t>> out;
    out.reserve(writes.size());
    while (!writes.empty()) {
        const auto some = writes.first(std::min(writes.size(), in_one_call));
        writes = writes.subspan(some.size());
        pipeline ask;
        for (const auto& w : some)
            add_write(ask, w.after.kind, w.after.id, w.after.revision, w.after.json, w.erased,
                      w.trail ? &*w.trail : nullptr);
        const auto answers = control_.call(ask);
        for (std::size_t i = 0; i < some.size(); ++i) {
            const record& r = some[i].after;
            out.push_back(answers ? read_write((*answers)[i], r.kind, r.id, nullptr)
                                  : result<std::uint64_t>(answers.error()));
        }
    }
    return out;
}

result<std::uint64_t> redis_store::put(const record& r, std::uint64_t* current) {
    return write_record(r.kind, r.id, r.revision, r.json, false, current);
}

result<void> redis_store::erase(std::string_view kind, std::string_view id,
                                std::uint64_t revision) {
    const auto done = write_record(kind, id, revision, "", true, nullptr);
    if (!done) return done.error();
    return {};
}

result<record> redis_store::get(std::string_view kind, std::string_view id) {
    pipeline ask;
    ask.add({"HGET", global("rec:", kind), id});
    const auto answers = control_.call(ask);
    if (!answers) return answers.error();
    const auto& a = answers->front();
    if (a.is_error()) return strange(a);
    record r{std::string(kind), std::string(id), 0, {}};
    if (!read_record(a.text, r)) return not_found(kind, id);
    return r;
}

result<page<record>> redis_store::list(std::string_view kind, const page_request& at) {
    const auto limit = clamped(at.limit);
    pipeline ids;
    ids.add({"ZRANGEBYLEX", global("ids:", kind), at.cursor.empty() ? "-" : "(" + at.cursor, "+",
             "LIMIT", "0", std::to_string(limit + 1)});
    const auto found = control_.call(ids);
    if (!found) return found.error();
    const auto& names = found->front();
    if (names.is_error()) return strange(names);
    page<record> out;
    if (names.items.empty()) return out;
    const auto key = global("rec:", kind);
    std::vector<std::string_view> words{"HMGET", key};
    const auto count = std::min(names.items.size(), limit);
    for (std::size_t i = 0; i < count; ++i)
        words.push_back(names.items[i].text);
    pipeline bodies;
    bodies.add(words);
    const auto answers = control_.call(bodies);
    if (!answers) return answers.error();
    const auto& texts = answers->front().items;
    for (std::size_t i = 0; i < count && i < texts.size(); ++i) {
        record r{std::string(kind), names.items[i].text, 0, {}};
        if (read_record(texts[i].text, r)) out.items.push_back(std::move(r));
    }
    if (names.items.size() > limit) out.next = names.items[limit - 1].text;
    return out;
}

result<changes> redis_store::changes_since(std::uint64_t revision, std::size_t limit,
                                           std::uint64_t server) {
    changes out;
    // Before it is asked: who is met by asking is noticed next time.
    out.server = control_.server();
    const bool from_start = revision == 0 || (server != 0 && server != out.server);
    for (auto since = from_start ? 0 : revision;;) {
        pipeline ask;
        // Of one moment, also while a Cluster moves them.
        ask.add({"MULTI"});
        ask.add({"GET", global("rev")});
        ask.add({"ZRANGEBYSCORE", global("feed"), "(" + std::to_string(since), "+inf", "WITHSCORES",
                 "LIMIT", "0", std::to_string(limit + 1)});
        ask.add({"EXEC"});
        const auto answers = control_.call(ask);
        if (!answers) return answers.error();
        const auto& told = answers->back().items;
        if (told.size() != 2) return strange(answers->back());
        if (told[1].is_error()) return strange(told[1]);
        out.revision = static_cast<std::uint64_t>(told[0].as_number());
        if (out.revision < since) {  // it fell back: all is read anew
            since = 0;
            continue;
        }
        out.reset = from_start || since != revision;
        const auto& entries = told[1].items;
        const auto count = std::min(entries.size() / 2, limit);
        pipeline bodies;
        for (std::size_t i = 0; i < count; ++i) {
            std::string_view member = entries[2 * i].text;
            const auto colon = member.find(':');
            auto& c = out.items.emplace_back();
            c.after.kind = std::string(member.substr(0, colon));
            c.after.id = std::string(member.substr(colon + 1));
            bodies.add({"HGET", global("rec:", c.after.kind), c.after.id});
        }
        if (count == 0) return out;
        const auto texts = control_.call(bodies);
        if (!texts) return texts.error();
        for (std::size_t i = 0; i < count; ++i) {
            auto& c = out.items[i];
            c.erased = !read_record((*texts)[i].text, c.after);
            if (c.erased)
                c.after.revision = static_cast<std::uint64_t>(entries[2 * i + 1].as_number());
        }
        out.more = entries.size() / 2 > limit;
        if (out.more) out.revision = static_cast<std::uint64_t>(entries[2 * limit - 1].as_number());
        if (out.reset) std::erase_if(out.items, [](const change& c) { return c.erased; });
        return out;
    }
}

result<bool> redis_store::wait_change(std::uint64_t revision, std::chrono::milliseconds timeout) {
    using namespace std::chrono_literals;
    const auto until = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        // Subscribed before the counter is asked, so that nothing falls between. Without a
        // subscription (down, or the ACL forbids it) the counter alone tells.
        const int messages = feed_.subscribe(global("feed"));
        pipeline ask;
        ask.add({"GET", global("rev")});
        const auto answers = control_.call(ask);
        if (!answers && std::chrono::steady_clock::now() >= until) return answers.error();
        if (answers && static_cast<std::uint64_t>(answers->front().as_number()) != revision)
            return true;
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (left <= 0ms) return false;
        std::array<pollfd, 2> waits{{{interrupt_.get(), POLLIN, 0}, {messages, POLLIN, 0}}};
        ::poll(waits.data(), waits.size(), static_cast<int>(std::min(left, 500ms).count()));
        eventfd_t ignored = 0;
        if (waits[0].revents != 0 && ::eventfd_read(interrupt_.get(), &ignored) == 0) return false;
        if (waits[1].revents != 0) feed_.drain();
    }
}

void redis_store::interrupt_wait() noexcept {
    ::eventfd_write(interrupt_.get(), 1);
}

result<void> redis_store::append_audit(std::span<const audit_entry> entries) {
    if (entries.empty()) return {};
    const auto trail = global("audit");
    const auto times = global("audited");
    // One transaction, so that an entry has both its body and its place.
    pipeline ask;
    ask.add({"MULTI"});
    for (const auto& e : entries) {
        ask.add({"HSET", trail, e.id, e.json});
        ask.add({"ZADD", times, std::to_string(microseconds_of(e.at)), e.id});
    }
    ask.add({"EXEC"});
    const auto answers = control_.call(ask);
    if (!answers) return answers.error();
    for (const auto& a : *answers)
        if (a.is_error()) return strange(a);
    return {};
}

result<page<audit_entry>> redis_store::list_audit(const audit_query& query) {
    constexpr std::int64_t nanos = 1'000;
    const auto limit = clamped(query.page.limit);
    auto [before, before_id] = time_cursor(query.page.cursor, query.to);
    // The times here are whole microseconds; an end inside of one takes in what began with it.
    if (before_id.empty() && before % nanos != 0 &&
        before < wall_time::max().time_since_epoch().count())
        before += nanos - before % nanos;
    before /= nanos;
    const auto from = microseconds_of(query.from);
    const auto times = global("audited");
    const auto trail = global("audit");
    page<audit_entry> out;
    for (std::size_t at = 0;; at += limit + 1) {
        pipeline ask;
        ask.add({"ZREVRANGEBYSCORE", times, std::to_string(before), std::to_string(from),
                 "WITHSCORES", "LIMIT", std::to_string(at), std::to_string(limit + 1)});
        const auto answers = control_.call(ask);
        if (!answers) return answers.error();
        if (answers->front().is_error()) return strange(answers->front());
        const auto& found = answers->front().items;
        std::vector<std::string_view> words{"HMGET", trail};
        std::vector<std::int64_t> ats;
        for (std::size_t i = 0; i + 1 < found.size(); i += 2) {
            const auto when = found[i + 1].as_number();
            if (when == before && found[i].text >= before_id) continue;
            words.push_back(found[i].text);
            ats.push_back(when);
        }
        if (!ats.empty()) {
            pipeline bodies;
            bodies.add(words);
            const auto texts = control_.call(bodies);
            if (!texts) return texts.error();
            const auto& items = texts->front().items;
            for (std::size_t i = 0; i < ats.size() && i < items.size(); ++i)
                if (items[i].is == reply::kind::text)
                    out.items.push_back({std::string(words[i + 2]),
                                         wall_time(std::chrono::microseconds(ats[i])),
                                         items[i].text});
        }
        if (out.items.size() > limit) {
            out.items.resize(limit);
            const auto& last = out.items.back();
            out.next = make_cursor(std::to_string(nanoseconds_of(last.at)), last.id);
            return out;
        }
        if (found.size() < 2 * (limit + 1)) return out;
    }
}

// By age and by count.
result<std::uint64_t> redis_store::clean_up_audit() {
    constexpr std::int64_t at_most = 1'000;  // a call
    const auto times = global("audited");
    pipeline ask;
    ask.add({"ZRANGEBYSCORE", times, "-inf",
             "(" + std::to_string(microseconds_of(clock_.wall() - options_.keep.audit)), "LIMIT",
             "0", std::to_string(at_most)});
    ask.add({"ZCARD", times});
    const auto answers = control_.call(ask);
    if (!answers) return answers.error();
    auto ids = (*answers)[0].items;
    const auto over =
        (*answers)[1].as_number() - static_cast<std::int64_t>(options_.keep.max_audit);
    if (ids.empty() && over > 0) {
        pipeline oldest;
        oldest.add({"ZRANGE", times, "0", std::to_string(std::min(over, at_most) - 1)});
        const auto found = control_.call(oldest);
        if (!found) return found.error();
        ids = found->front().items;
    }
    if (ids.empty()) return std::uint64_t{0};
    pipeline drop;
    for (const auto& [command, key] :
         {std::pair("HDEL", global("audit")), std::pair("ZREM", times)}) {
        std::vector<std::string_view> words{command, key};
        for (const auto& id : ids)
            words.push_back(id.text);
        drop.add(words);
    }
    const auto done = control_.call(drop);
    if (!done) return done.error();
    return std::uint64_t{ids.size()};
}

result<std::vector<std::string>> redis_store::preflight() {
    pipeline ask;
    ask.add({"INFO", "memory"});
    ask.add({"INFO", "persistence"});
    ask.add({"CONFIG", "GET", "save"});
    const auto servers = control_.call_all(ask);
    if (!servers) return servers.error();
    std::vector<std::string> out;
    const auto warn = [&out](std::string text) {
        if (std::ranges::find(out, text) == out.end()) out.push_back(std::move(text));
    };
    for (const auto& answers : *servers) {
        const auto& memory = answers[0].text;
        if (memory.find("maxmemory_policy:") != std::string::npos &&
            memory.find("maxmemory_policy:noeviction") == std::string::npos)
            warn("Redis may evict keys: set maxmemory-policy to noeviction, or usage will be lost");
        const bool append_only = answers[1].text.find("aof_enabled:1") != std::string::npos;
        const auto& save = answers[2].items;  // empty where CONFIG is not allowed
        if (!append_only && save.size() == 2 && save[1].text.empty())
            warn("Redis keeps nothing on disk: set appendonly to yes");
        else if (!append_only)
            warn(
                "Redis' append-only file is off: a crash of Redis loses what changed since its "
                "last snapshot");
    }
    return out;
}

result<void> redis_store::ping() {
    pipeline ask;
    ask.add({"PING"});
    const auto answers = control_.call(ask);
    if (!answers) return answers.error();
    return {};
}

}  // namespace redis

result<std::unique_ptr<store>> open_redis(const redis_options& options, const clock_source& clock) {
    auto to = redis::parse_target(options);
    if (!to) return to.error();
    return std::unique_ptr<store>(
        std::make_unique<redis::redis_store>(std::move(*to), options, clock));
}

}  // namespace kw::store
