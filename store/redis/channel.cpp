// Reconnecting, back-off, and what a server's errors mean.
#include "store/redis/channel.hpp"

#include <algorithm>

#include "core/crypto.hpp"
#include "core/log.hpp"
#include "store/backup.hpp"

#include <openssl/evp.h>

namespace kw::store::redis {
namespace {

constexpr std::int64_t schema_version = 1;

std::string sha1_hex(std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned size = 0;
    EVP_Digest(text.data(), text.size(), bytes.data(), &size, EVP_sha1(), nullptr);
    return crypto::to_hex(std::span(bytes.data(), size));
}

pipeline scripts() {
    pipeline load;
    for (const auto* text : all_scripts)
        load.add({"SCRIPT", "LOAD", text});
    return load;
}

std::string field_of(std::string_view info, std::string_view name) {
    const auto at = info.find(std::string(name) + ":");
    if (at == std::string_view::npos) return {};
    const auto begin = at + name.size() + 1;
    return std::string(info.substr(begin, info.find_first_of("\r\n", begin) - begin));
}

}  // namespace

bool means_not_now(std::string_view text) noexcept {
    for (const std::string_view word :
         {"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "OOM", "MISCONF", "NOAUTH", "BUSY",
          "TRYAGAIN", "NOREPLICAS", "MOVED", "ASK", "NOPERM", "WRONGPASS"})
        if (text.starts_with(word)) return true;
    // Inside a script, the reason stands behind the script's own words.
    return text.find("OOM ") != std::string_view::npos ||
           text.find("READONLY ") != std::string_view::npos;
}

bool means_shard_moves(std::string_view text) noexcept {
    return text.starts_with("ASK ") || text.starts_with("TRYAGAIN");
}

health_board::health_board(const clock_source& clock, std::string server, bool quiet)
    : clock_(clock), server_(std::move(server)), quiet_(quiet) {
    health_.since = clock.wall();
}

void health_board::answered(const void* who, std::optional<std::chrono::microseconds> latency) {
    const std::lock_guard lock(mutex_);
    if (latency) health_.latency = *latency;
    if (health_.up) return;
    std::erase(failing_, who);
    if (!failing_.empty()) return;
    health_.up = true;
    health_.since = clock_.wall();
    health_.reason.clear();
    if (quiet_) return;
    log::event(log::level::info, "store.up", {{"store", "redis"}, {"server", server_}});
}

void health_board::failed(const void* who, const error& why) {
    const std::lock_guard lock(mutex_);
    if (std::ranges::find(failing_, who) == failing_.end()) failing_.push_back(who);
    ++health_.errors;
    health_.reason = why.context;
    if (!health_.up) return;
    health_.up = false;
    health_.since = clock_.wall();
    if (quiet_) return;
    log::event(log::level::error, "store.down",
               {{"store", "redis"}, {"server", server_}, {"reason", why.context}});
}

store_health health_board::now() const {
    const std::lock_guard lock(mutex_);
    return health_;
}

channel::channel(const target& to, const redis_options& options, health_board& board)
    : options_(options),
      board_(board),
      link_(to, options.connect_timeout, scripts()),
      backoff_(options.min_backoff) {
    for (std::size_t i = 0; i < all_scripts.size(); ++i)
        hashes_[i] = sha1_hex(all_scripts[i]);
}

error channel::give_up(error why) {
    board_.failed(this, why);
    return close_for_now(std::move(why));
}

error channel::close_for_now(error why) {
    link_.close();
    subscribed_ = nullptr;
    not_before_ = std::chrono::steady_clock::now() + backoff_;
    backoff_ = std::min(backoff_ * 2, options_.max_backoff);
    last_ = why;
    return why;
}

error channel::refused(std::string_view text) const {
    auto why = "Redis: " + std::string(text);
    if (!link_.is_cluster() && text.starts_with("MOVED "))
        why += " (a node of a Cluster: set store.redis_mode to cluster)";
    return error(errc::store_unavailable, std::move(why), error_source::store);
}

result<void> channel::greet(deadline until) {
    pipeline hello;
    const auto schema = options_.prefix + "{m}:schema";
    hello.add({"INFO", "server"});
    hello.add({"SET", schema, std::to_string(schema_version), "NX"});
    hello.add({"GET", schema});
    // The nodes of a Cluster get them when they are connected to.
    if (const auto load = scripts(); !link_.is_cluster()) hello.commands(load.bytes(), load.size());
    const auto answers = link_.exchange(hello, until);
    if (!answers) return answers.error();
    if ((*answers)[2].text == restoring_schema)
        return error(errc::store_unavailable,
                     "a restore into this Redis goes on, or has not ended well: run it again",
                     error_source::store);
    if ((*answers)[2].as_number() > schema_version)
        return error(errc::store_unavailable,
                     "this Redis holds data of a newer release: use that release",
                     error_source::store);
    for (std::size_t i = 2; i < answers->size(); ++i)
        if (const auto& a = (*answers)[i]; a.is_error()) return refused(a.text);
    auto run_id = field_of((*answers)[0].text, "run_id");
    if (!run_id_.empty() && run_id_ != run_id) ++server_;
    run_id_ = std::move(run_id);
    return {};
}

result<void> channel::ready(deadline until) {
    if (link_.is_open()) return {};
    const auto now = std::chrono::steady_clock::now();
    if (now < not_before_)
        return error(errc::store_unavailable, "Redis is away: " + last_.context,
                     error_source::store);
    if (auto opened = link_.open(until); !opened) return give_up(opened.error());
    if (auto greeted = greet(until); !greeted) return give_up(greeted.error());
    return {};
}

result<std::vector<reply>> channel::call(const pipeline& commands) {
    const auto begun = std::chrono::steady_clock::now();
    const auto until = begun + options_.call_timeout;
    const std::unique_lock lock(mutex_, until);
    if (!lock)
        return error(errc::store_unavailable, "Redis is busy with an earlier call",
                     error_source::store);
    for (int round = 0;; ++round) {
        if (auto up = ready(until); !up) return up.error();
        auto answers = link_.exchange(commands, until);
        if (!answers) return give_up(answers.error());
        bool forgotten = false;
        for (const auto& a : *answers) {
            if (!a.is_error()) continue;
            forgotten = forgotten || a.text.starts_with("NOSCRIPT");
            // One slot is on its way for longer than the call may take; all others are where they
            // were.
            if (means_shard_moves(a.text)) return refused(a.text);
            if (means_not_now(a.text)) return give_up(refused(a.text));
        }
        if (!forgotten || round == 1) {
            backoff_ = options_.min_backoff;
            board_.answered(this, std::chrono::duration_cast<std::chrono::microseconds>(
                                      std::chrono::steady_clock::now() - begun));
            return answers;
        }
        // A script that was not there did nothing, and what may stand beside it repeats alike.
        if (auto again = greet(until); !again) return give_up(again.error());
    }
}

result<std::vector<std::vector<reply>>> channel::call_all(const pipeline& commands) {
    const auto until = std::chrono::steady_clock::now() + options_.call_timeout;
    const std::unique_lock lock(mutex_, until);
    if (!lock)
        return error(errc::store_unavailable, "Redis is busy with an earlier call",
                     error_source::store);
    if (auto up = ready(until); !up) return up.error();
    const auto all = link_.all(until);
    if (!all) return give_up(all.error());
    std::vector<std::vector<reply>> out;
    for (auto* on : *all) {
        auto answers = on->exchange(commands, until);
        if (!answers) return give_up(answers.error());
        out.push_back(std::move(*answers));
    }
    return out;
}

void channel::add_script(pipeline& to, script which, std::span<const std::string> keys,
                         std::span<const std::string> arguments) {
    const auto count = std::to_string(keys.size());
    std::vector<std::string_view> words{"EVALSHA", hashes_[static_cast<std::size_t>(which)], count};
    words.insert(words.end(), keys.begin(), keys.end());
    words.insert(words.end(), arguments.begin(), arguments.end());
    to.add(words);
}

int channel::subscribe(const std::string& name) {
    const auto until = std::chrono::steady_clock::now() + options_.call_timeout;
    const std::unique_lock lock(mutex_, until);
    if (!lock || !ready(until)) return -1;
    if (subscribed_ == nullptr) {
        board_.answered(this);
        pipeline ask;
        ask.add({"SUBSCRIBE", name});
        // What is published on one node of a Cluster is heard on all.
        const auto on = link_.where(name, until);
        const auto answers = on ? (*on)->exchange(ask, until) : on.error();
        if (!answers || answers->front().is_error()) {
            static_cast<void>(close_for_now(
                error(errc::store_unavailable, "Redis: cannot subscribe", error_source::store)));
            return -1;
        }
        subscribed_ = *on;
    }
    return subscribed_->descriptor();
}

void channel::drain() {
    const std::lock_guard lock(mutex_);
    if (subscribed_ != nullptr && !subscribed_->drain()) {
        subscribed_ = nullptr;
        link_.close();
    }
}

}  // namespace kw::store::redis
