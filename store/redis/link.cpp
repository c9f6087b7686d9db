// Routing of commands over the nodes of a Cluster.
#include "store/redis/link.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <thread>

namespace kw::store::redis {

// Commands that go to one node together.
struct link::unit {
    std::string_view bytes;
    std::size_t first = 0;  // of its replies
    std::size_t count = 0;
    std::optional<std::uint16_t> slot;
    std::optional<place> asking;  // goes there this once
    bool again = true;
    bool greeted = false;  // its scripts were loaded anew
};

namespace {

constexpr int max_rounds = 16;
constexpr std::chrono::milliseconds try_again_in{20};  // while a slot moves, its keys are apart

error away(std::string why) {
    return error(errc::store_unavailable, std::move(why), error_source::store);
}

// One command of a pipeline that we have encoded ourselves.
struct command {
    std::string_view bytes;
    std::string_view name;
    std::string_view key;  // the first; "": none
};

std::size_t take_count(std::string_view bytes, std::size_t& at) {
    std::size_t n = 0;
    const auto* const end = bytes.data() + bytes.size();
    const auto got = std::from_chars(bytes.data() + at + 1, end, n);
    at = static_cast<std::size_t>(got.ptr - bytes.data()) + 2;
    return n;
}

command next_command(std::string_view bytes) {
    std::size_t at = 0;
    const auto words = take_count(bytes, at);
    command out;
    std::array<std::string_view, 4> first;
    for (std::size_t i = 0; i < words; ++i) {
        const auto size = take_count(bytes, at);
        if (i < first.size()) first[i] = bytes.substr(at, size);
        at += size + 2;
    }
    out.bytes = bytes.substr(0, at);
    out.name = first[0];
    constexpr std::string_view without[] = {"MULTI", "EXEC",   "INFO", "PING",
                                            "TIME",  "CONFIG", "ROLE", "SCRIPT"};
    if (out.name == "EVALSHA")
        out.key = first[2] == "0" ? std::string_view() : first[3];
    else if (std::ranges::find(without, out.name) == std::end(without))
        out.key = first[1];
    return out;
}

bool has(std::span<const reply> told, std::string_view word) {
    return std::ranges::any_of(
        told, [&](const reply& r) { return r.is_error() && r.text.starts_with(word); });
}

}  // namespace

link::link(const target& to, std::chrono::milliseconds connect_timeout, pipeline greeting)
    : to_(to), connect_timeout_(connect_timeout), greeting_(std::move(greeting)) {}

result<void> link::open(deadline until) {
    until = std::min(until, std::chrono::steady_clock::now() + connect_timeout_);
    if (!is_cluster()) return single_.open(to_, until);
    close();
    auto told = to_.cluster->refresh(to_, until);
    if (!told) return told.error();
    view_ = std::move(*told);
    return {};
}

void link::close() noexcept {
    single_.close();
    view_ = nullptr;
    nodes_.clear();
}

bool link::is_open() const noexcept {
    return is_cluster() ? view_ != nullptr : single_.is_open();
}

error link::broken(error why) {
    close();
    return why;
}

result<connection*> link::node(const place& at, deadline until) {
    auto& held = nodes_[at];
    if (!held) held = std::make_unique<connection>();
    if (held->is_open()) return held.get();
    until = std::min(until, std::chrono::steady_clock::now() + connect_timeout_);
    if (auto opened = held->open(to_.server(at), until); !opened) return opened.error();
    if (greeting_.size() == 0) return held.get();
    const auto answers = held->exchange(greeting_, until);
    if (!answers) return answers.error();
    for (const auto& a : *answers)
        if (a.is_error()) {
            held->close();
            return away("Redis " + at.name() + ": " + a.text);
        }
    return held.get();
}

result<connection*> link::where(std::string_view key, deadline until) {
    if (!is_cluster()) return &single_;
    if (!view_) return away("not connected");
    const auto* const at = view_->at(slot_of(key));
    if (at == nullptr) return broken(away("a slot of the Cluster has no master"));
    auto on = node(*at, until);
    if (!on) return broken(on.error());
    return on;
}

// Sends what is to be sent, to all nodes before the first is listened to.
result<void> link::round(std::vector<unit>& all, std::vector<reply>& out, deadline until) {
    struct batch {
        connection* on = nullptr;
        pipeline commands;
        std::vector<unit*> units;
    };
    std::map<place, batch> batches;
    view_ = to_.cluster->now();
    for (auto& u : all) {
        if (!u.again) continue;
        const auto* to = view_->at(u.slot.value_or(0));
        if (u.asking) to = &*u.asking;
        if (to == nullptr) return away("a slot of the Cluster has no master");
        auto& b = batches[*to];
        if (u.asking) b.commands.add({"ASKING"});
        b.commands.commands(u.bytes, u.count);
        b.units.push_back(&u);
    }
    for (auto& [at, b] : batches) {
        auto on = node(at, until);
        if (!on) return on.error();
        b.on = *on;
        if (auto sent = b.on->send(b.commands, until); !sent)
            return away(at.name() + ": " + sent.error().context);
    }
    for (auto& [at, b] : batches) {
        auto answers = b.on->receive(b.commands.size(), until);
        if (!answers) return away(at.name() + ": " + answers.error().context);
        bool load = false;
        std::size_t next = 0;
        for (auto* u : b.units) {
            if (u->asking) ++next;  // the answer to ASKING
            const std::span told(answers->data() + next, u->count);
            next += u->count;
            u->asking.reset();
            u->again = has(told, "TRYAGAIN");
            for (const auto& r : told) {
                auto sent_on = r.is_error() ? read_redirection(r.text) : std::nullopt;
                if (!sent_on) continue;
                u->again = true;
                if (sent_on->to.host.empty()) sent_on->to.host = at.host;
                if (sent_on->ask)
                    u->asking = sent_on->to;
                else
                    to_.cluster->moved(sent_on->slot, sent_on->to);
            }
            if (!u->greeted && has(told, "NOSCRIPT")) load = u->again = u->greeted = true;
            std::ranges::move(told, out.begin() + static_cast<std::ptrdiff_t>(u->first));
        }
        if (!load) continue;
        if (const auto loaded = b.on->exchange(greeting_, until); !loaded)
            return away(at.name() + ": " + loaded.error().context);
    }
    return {};
}

result<std::vector<reply>> link::exchange(const pipeline& commands, deadline until) {
    if (!is_cluster()) return single_.exchange(commands, until);
    if (!view_) return away("not connected");
    std::vector<unit> all;
    bool whole = false;
    std::string_view left = commands.bytes();
    for (std::size_t i = 0; i < commands.size(); ++i) {
        const auto c = next_command(left);
        left.remove_prefix(c.bytes.size());
        if (!whole) {
            all.emplace_back().first = i;
            all.back().bytes = c.bytes.substr(0, 0);
        }
        auto& u = all.back();
        u.bytes = {u.bytes.data(), u.bytes.size() + c.bytes.size()};
        ++u.count;
        if (!c.key.empty() && !u.slot) u.slot = slot_of(c.key);
        whole = c.name == "MULTI" || (whole && c.name != "EXEC");
    }
    std::optional<std::uint16_t> near;
    for (auto u = all.rbegin(); u != all.rend(); ++u)
        if (u->slot)
            near = u->slot;
        else
            u->slot = near;
    for (auto& u : all)  // behind the last key
        if (u.slot)
            near = u.slot;
        else
            u.slot = near;
    std::vector<reply> out(commands.size());
    for (int n = 0; n < max_rounds; ++n) {
        if (auto done = round(all, out, until); !done) return broken(done.error());
        if (std::ranges::none_of(all, [](const unit& u) { return u.again; })) break;
        if (!has(out, "TRYAGAIN")) continue;
        if (std::chrono::steady_clock::now() + try_again_in >= until) break;
        std::this_thread::sleep_for(try_again_in);
    }
    return out;
}

result<std::vector<connection*>> link::all(deadline until) {
    std::vector<connection*> out;
    if (!is_cluster()) {
        out.push_back(&single_);
        return out;
    }
    if (!view_) return away("not connected");
    for (std::size_t i = 0; i < view_->masters.size(); ++i) {
        if (std::ranges::find(view_->owner, i) == view_->owner.end()) continue;
        auto on = node(view_->masters[i], until);
        if (!on) return broken(on.error());
        out.push_back(*on);
    }
    return out;
}

}  // namespace kw::store::redis
