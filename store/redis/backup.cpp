// Backup and restore of all keys behind the prefix: Redis' own form of each value (DUMP), with the
// time at which it ends.
#include "store/backup.hpp"

#include <algorithm>
#include <map>

#include "store/backup_file.hpp"
#include "store/binary.hpp"
#include "store/redis/admission_wire.hpp"
#include "store/redis/link.hpp"

namespace kw::store {
namespace redis {
namespace {

// A restore of gigabytes is sent in pieces, each of which may take so long.
constexpr std::chrono::seconds call_limit{120};
constexpr std::size_t keys_at_once = 500;
constexpr std::size_t bytes_at_once = 8U << 20U;
constexpr std::string_view schema_key = "{m}:schema";
constexpr std::string_view replicas_key = "{m}:replicas";

error failed(errc code, std::string why) {
    return error(code, std::move(why), error_source::store);
}

// Characters that a pattern of Redis reads as more than themselves.
std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (std::string_view("*?[]^\\").find(c) != std::string_view::npos) out += '\\';
        out += c;
    }
    return out;
}

class session {
  public:
    static result<session> open(const redis_options& options) {
        auto to = parse_target(options);
        if (!to) return to.error();
        session made(options.prefix, std::make_unique<const target>(std::move(*to)));
        if (auto opened = made.on_->open(until()); !opened) return opened.error();
        const auto info = made.call({"INFO", "cluster"});
        if (!info) return info.error();
        // SCAN would tell of one node's keys alone.
        if (!made.on_->is_cluster() && info->text.find("cluster_enabled:1") != std::string::npos)
            return failed(errc::invalid_argument,
                          "this is a node of a Redis Cluster: set store.redis_mode to cluster");
        return made;
    }

    result<std::vector<reply>> call(const pipeline& commands) {
        auto answers = on_->exchange(commands, until());
        if (!answers) return answers.error();
        for (const auto& a : *answers)
            if (a.is_error()) return failed(errc::store_unavailable, "Redis: " + a.text);
        return answers;
    }

    result<reply> call(std::initializer_list<std::string_view> words) {
        pipeline one;
        one.add(words);
        auto answers = call(one);
        if (!answers) return answers.error();
        return std::move(answers->front());
    }

    [[nodiscard]] std::string key(std::string_view name) const {
        return prefix_ + std::string(name);
    }

    // The names behind the prefix, sorted; each once.
    result<std::vector<std::string>> names() {
        std::vector<std::string> out;
        if (auto listed = list(out); !listed) return listed.error();
        // While a slot moves, a key may come to a node behind us and be gone from one before us. By
        // the second time it is where it was going.
        if (on_->is_cluster()) {
            if (auto anew = on_->open(until()); !anew) return anew.error();
            if (auto listed = list(out); !listed) return listed.error();
        }
        std::ranges::sort(out);
        out.erase(std::ranges::unique(out).begin(), out.end());
        return out;
    }

    // Each value with the milliseconds it has left, -1 for ever; atomically if they are one whole.
    result<std::vector<reply>> dump(std::span<const std::string> of, bool whole) {
        pipeline ask;
        if (whole) ask.add({"MULTI"});
        for (const auto& name : of) {
            ask.add({"DUMP", key(name)});
            ask.add({"PTTL", key(name)});
        }
        if (whole) ask.add({"EXEC"});
        auto answers = call(ask);
        if (!answers || !whole) return answers;
        return std::move(answers->back().items);
    }

    result<std::int64_t> now_ms() {
        const auto now = call({"TIME"});
        if (!now) return now.error();
        if (now->items.size() != 2)
            return failed(errc::internal, "Redis: an unexpected answer to TIME");
        return now->items[0].as_number() * 1000 + now->items[1].as_number() / 1000;
    }

    result<bool> in_use() {
        const auto now = now_ms();
        if (!now) return now.error();
        const auto alive =
            call({"ZCOUNT", key(replicas_key),
                  std::to_string(*now - std::chrono::milliseconds(replica_alive).count()), "+inf"});
        if (!alive) return alive.error();
        return alive->number > 0;
    }

  private:
    session(std::string prefix, std::unique_ptr<const target> to)
        : prefix_(std::move(prefix)),
          to_(std::move(to)),
          on_(std::make_unique<link>(*to_, call_limit)) {}

    // Adds what each node has.
    result<void> list(std::vector<std::string>& out) {
        const auto pattern = escaped(prefix_) + '*';
        const auto servers = on_->all(until());
        if (!servers) return servers.error();
        for (auto* server : *servers) {
            std::string cursor = "0";
            do {
                pipeline ask;
                ask.add({"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"});
                const auto answers = server->exchange(ask, until());
                if (!answers) return answers.error();
                const auto& page = answers->front();
                if (page.items.size() != 2)
                    return failed(errc::store_unavailable, "Redis: " + page.text);
                cursor = page.items[0].text;
                for (const auto& found : page.items[1].items)
                    out.push_back(found.text.substr(prefix_.size()));
            } while (cursor != "0");
        }
        return {};
    }
    static deadline until() { return std::chrono::steady_clock::now() + call_limit; }

    std::string prefix_;
    std::unique_ptr<const target> to_;
    std::unique_ptr<link> on_;
};

// Which must be of one moment: the records of configuration, and of each shard of the ledger its
// sums and numbers. "" for all others.
std::string whole_of(std::string_view name) {
    const auto end = name.find("}:");
    if (!name.starts_with('{') || end == std::string_view::npos) return {};
    const auto tag = name.substr(1, end - 1);
    const auto rest = name.substr(end + 2);
    const auto begins = [rest](auto... with) { return (rest.starts_with(with) || ...); };
    if (tag == "m" ? begins("rec:", "ids:", "rev", "feed", "audit", "keys")
                   : begins("num:", "led", "time", "agg:"))
        return std::string(tag);
    return {};
}

// How long is left becomes when it ends: a backup may be old. 0: never.
void add_value(backup_writer& out, const std::string& name, const reply& dump, const reply& left,
               std::int64_t now) {
    if (dump.is != reply::kind::text) return;  // it has ended since it was listed
    std::string bytes;
    put_u64(bytes, left.number < 0 ? 0 : static_cast<std::uint64_t>(now + left.number));
    out.add(name, bytes, false);
    out.add(name, dump.text, true);
}

result<void> add_all(session& from, backup_writer& out) {
    const auto names = from.names();
    if (!names) return names.error();
    if (names->empty())
        return failed(errc::store_unavailable, "there is nothing of keywheel's in this Redis");
    std::map<std::string, std::vector<std::string>> groups;
    for (const auto& name : *names)
        if (name != replicas_key) groups[whole_of(name)].push_back(name);
    for (const auto& [tag, members] : groups) {
        std::span<const std::string> left(members);
        while (!left.empty()) {
            const bool whole = !tag.empty();
            const auto some = left.first(whole ? left.size() : std::min(left.size(), keys_at_once));
            left = left.subspan(some.size());
            const auto now = from.now_ms();
            if (!now) return now.error();
            const auto values = from.dump(some, whole);
            if (!values) return values.error();
            if (values->size() != 2 * some.size())
                return failed(errc::internal, "Redis: an unexpected answer to DUMP");
            for (std::size_t i = 0; i < some.size(); ++i)
                add_value(out, some[i], (*values)[2 * i], (*values)[2 * i + 1], *now);
        }
    }
    return {};
}

result<void> clear(session& on) {
    const auto names = on.names();
    if (!names) return names.error();
    std::span<const std::string> left(*names);
    while (!left.empty()) {
        const auto some = left.first(std::min(left.size(), keys_at_once));
        left = left.subspan(some.size());
        pipeline ask;
        for (const auto& name : some)
            if (name != schema_key) ask.add({"UNLINK", on.key(name)});
        if (ask.size() == 0) continue;
        if (const auto done = on.call(ask); !done) return done.error();
    }
    return {};
}

// All but the schema, which is handed out: it opens the store again.
result<std::string> put_all(session& on, backup_reader& in) {
    std::string schema;
    std::string value;
    pipeline ask;
    backup_piece piece;
    const auto send = [&]() -> result<void> {
        if (ask.size() == 0) return {};
        const auto done = on.call(ask);
        ask = {};
        if (!done) return done.error();
        return {};
    };
    for (;;) {
        const auto more = in.next(piece);
        if (!more) return more.error();
        if (!*more) break;
        value += piece.bytes;
        if (!piece.last) continue;
        std::string_view dump = value;
        std::uint64_t ends = 0;
        if (!take_u64(dump, ends))
            return failed(errc::invalid_argument, "the backup has a value that is not readable");
        if (piece.item == schema_key)
            schema = dump;
        else
            ask.add(
                {"RESTORE", on.key(piece.item), std::to_string(ends), dump, "REPLACE", "ABSTTL"});
        value.clear();
        if (ask.bytes().size() < bytes_at_once) continue;
        if (auto sent = send(); !sent) return sent.error();
    }
    if (auto sent = send(); !sent) return sent.error();
    return schema;
}

}  // namespace
}  // namespace redis

result<backup_summary> back_up_redis(const redis_options& options, const backup_head& head,
                                     const std::string& path, const crypto::sealer& sealer) {
    auto from = redis::session::open(options);
    if (!from) return from.error();
    auto out = backup_writer::begin(path, sealer, head);
    if (!out) return out.error();
    if (auto done = redis::add_all(*from, *out); !done) return done.error();
    return out->commit();
}

result<backup_summary> restore_redis(const std::string& path, const crypto::sealer& sealer,
                                     const redis_options& options, bool replace) {
    using redis::failed;
    const auto checked = check_backup(path, sealer);
    if (!checked) return checked.error();
    if (checked->head.store != "redis")
        return failed(errc::invalid_argument,
                      path +
                          " is a backup of the embedded store: unset store.redis_url (export "
                          "and import move what is configured from one to the other)");
    auto opened = redis::session::open(options);
    if (!opened) return opened.error();
    redis::session& on = *opened;
    const auto used = on.in_use();
    if (!used) return used.error();
    if (*used)
        return failed(errc::store_conflict,
                      "servers run on this Redis: stop them, and wait ten seconds for those that "
                      "were killed");
    const auto schema = on.key(redis::schema_key);
    const auto held = on.call({"GET", schema});
    if (!held) return held.error();
    const auto there = on.names();
    if (!there) return there.error();
    // A server that came and went leaves no more than these.
    const bool data = std::ranges::any_of(*there, [](const std::string& name) {
        return name != redis::schema_key && name != redis::replicas_key;
    });
    if (data && !replace && held->text != restoring_schema)
        return failed(errc::store_conflict,
                      "this Redis holds a store; with --replace it is thrown away");
    if (const auto closed = on.call({"SET", schema, restoring_schema}); !closed)
        return closed.error();
    if (auto done = redis::clear(on); !done) return done.error();
    auto in = backup_reader::open(path, sealer);
    if (!in) return in.error();
    const auto version = redis::put_all(on, *in);
    if (!version) return version.error();
    if (version->empty()) {
        if (const auto done = on.call({"DEL", schema}); !done) return done.error();
    } else if (const auto done = on.call({"RESTORE", schema, "0", *version, "REPLACE"}); !done) {
        return done.error();
    }
    return *checked;
}

}  // namespace kw::store
