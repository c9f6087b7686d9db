// Encoding and reading of admission's steps.
#include "store/redis/admission_wire.hpp"

#include <algorithm>

#include "store/ledger_batch.hpp"

namespace kw::store::redis {
namespace {

constexpr std::int64_t billion = 1'000'000'000;
constexpr std::int64_t max_amount = 1'000'000 * billion;

void add_amount(std::vector<std::string>& to, std::int64_t n) {
    to.push_back(std::to_string(n / billion));
    to.push_back(std::to_string(n % billion));
}

void add_amounts(std::vector<std::string>& to, const amounts& a) {
    for (const auto n : {a.requests, a.tokens, a.cost})
        add_amount(to, std::clamp<std::int64_t>(n, 0, max_amount));
}

// Begin and end of the period, and the end of the next.
void add_periods(std::vector<std::string>& to, const limit& budget, std::int64_t now_ms) {
    const auto period = bounds_of(budget, now_ms);
    const auto next_end = period.end == 0 ? 0 : bounds_of(budget, period.end).end;
    for (const auto n : {period.begin, period.end, next_end})
        to.push_back(std::to_string(n));
}

void add_limit(std::vector<std::string>& to, const limit& l, const std::string& name,
               std::int64_t now_ms) {
    to.push_back(name);
    to.push_back(std::to_string(static_cast<int>(l.unit) + 1));
    add_amount(to, l.cap);
    if (l.kind == limit_kind::budget) {
        add_periods(to, l, now_ms);
        return;
    }
    const auto length = l.kind == limit_kind::sliding ? part_ms(l.length) : l.length.count();
    to.push_back(std::to_string(length));
    to.insert(to.end(), 2, "0");
}

}  // namespace

admission_wire::admission_wire(std::string prefix, const admission_options& options,
                               std::string replica_id)
    : prefix_(std::move(prefix)), options_(options), replica_id_(std::move(replica_id)) {}

void admission_wire::load(pipeline& to) const {
    for (const auto& text : admission_scripts())
        to.add({"SCRIPT", "LOAD", text});
}

bool admission_wire::learn(const std::vector<reply>& loaded) {
    if (loaded.size() != hashes_.size()) return false;
    for (std::size_t i = 0; i < hashes_.size(); ++i) {
        if (loaded[i].is != reply::kind::text) return false;
        hashes_[i] = loaded[i].text;
    }
    return true;
}

std::string admission_wire::shard_key(std::size_t shard, std::string_view rest) const {
    return prefix_ + "{" + std::to_string(shard) + "}:" + std::string(rest);
}

std::string admission_wire::time_word() const {
    if (options_.fixed_time_ms != nullptr)
        return "=" + std::to_string(options_.fixed_time_ms->load());
    return std::to_string(options_.time_offset.count());
}

void admission_wire::send(pipeline& to, admission_script which,
                          const std::vector<std::string>& keys,
                          const std::vector<std::string>& arguments) const {
    const auto count = std::to_string(keys.size());
    std::vector<std::string_view> words{"EVALSHA", hashes_[static_cast<std::size_t>(which)], count};
    words.insert(words.end(), keys.begin(), keys.end());
    words.insert(words.end(), arguments.begin(), arguments.end());
    to.add(words);
}

void admission_wire::encode_admit(const step& s, std::int64_t now_ms, pipeline& to) const {
    const auto shard = shard_of(s.access_key_id);
    std::vector<std::string> words;
    words.reserve(14 + 7 * s.limits->items().size());
    words.push_back(time_word());
    words.push_back(s.ledger_id);
    words.emplace_back(s.is == step_kind::book ? "f" : s.is == step_kind::peek ? "p" : "a");
    words.push_back(std::to_string(s.ttl.count()));
    words.emplace_back(s.bounded ? "1" : "0");
    words.push_back(std::to_string(options_.keep_expired.count()));
    words.push_back(std::to_string(s.limits->keep_ms()));
    words.push_back(s.access_key_id);
    add_amounts(words, s.amount);
    for (std::size_t i = 0; i < s.limits->items().size(); ++i)
        add_limit(words, s.limits->items()[i], s.limits->names()[i], now_ms);
    send(to, admission_script::admit,
         {shard_key(shard, "use:" + s.access_key_id), shard_key(shard, "due:" + s.access_key_id),
          shard_key(shard, "used")},
         words);
}

void admission_wire::encode(const step& s, std::int64_t now_ms, pipeline& to) const {
    const auto shard = s.is == step_kind::sweep ? s.shard : shard_of(s.access_key_id);
    const auto use = shard_key(shard, "use:" + s.access_key_id);
    const auto due = shard_key(shard, "due:" + s.access_key_id);
    const auto used = shard_key(shard, "used");
    const auto replicas = prefix_ + "{m}:replicas";
    const auto expired = std::to_string(options_.keep_expired.count());
    std::vector<std::string> words{time_word()};
    switch (s.is) {
        case step_kind::admit:
        case step_kind::book:
        case step_kind::peek:
            return encode_admit(s, now_ms, to);
        case step_kind::settle:
        case step_kind::release:
            words.insert(words.end(), {s.ledger_id, s.is == step_kind::settle ? "s" : "r", expired,
                                       std::to_string(options_.keep_settled.count())});
            add_amounts(words, s.amount);
            return send(to, admission_script::settle, {use, due}, words);
        case step_kind::renew:
            words.insert(words.end(), {std::to_string(s.ttl.count()), expired});
            words.insert(words.end(), s.ids.begin(), s.ids.end());
            return send(to, admission_script::renew, {use, due}, words);
        case step_kind::preload:
            words.insert(words.end(), {s.access_key_id, std::to_string(s.limits->keep_ms()),
                                       s.limits->names().front()});
            add_periods(words, s.limits->items().front(), now_ms);
            add_amount(words, std::max<std::int64_t>(s.amount.requests, 0));
            return send(to, admission_script::preload, {use, due, used}, words);
        case step_kind::forget:
            return to.add({"DEL", use, due});
        case step_kind::sweep:
            words.insert(words.end(), {shard_key(shard, "use:"), shard_key(shard, "due:"), expired,
                                       std::to_string(sweep_keys)});
            return send(to, admission_script::sweep, {used}, words);
        case step_kind::beat:
            words.insert(
                words.end(),
                {replica_id_, std::to_string(std::chrono::milliseconds(replica_alive).count())});
            return send(to, admission_script::beat, {replicas}, words);
        case step_kind::leave:
            return to.add({"ZREM", replicas, replica_id_});
    }
}

bool admission_wire::read(const reply& from, const limit_set& limits, admit_answer& to,
                          std::int64_t& leases) {
    const auto& items = limits.items();
    if (from.is != reply::kind::array || from.items.size() != 5 + 3 * items.size()) return false;
    const auto number = [&](std::size_t i) { return from.items[i].as_number(); };
    to.is = number(0) == 1   ? admit_answer::outcome::admitted
            : number(0) == 2 ? admit_answer::outcome::refused
                             : admit_answer::outcome::waits;
    to.refused_by = number(1) > 0 ? static_cast<std::size_t>(number(1)) - 1 : 0;
    to.retry_in = std::chrono::milliseconds(number(2));
    leases = number(3);
    to.states.clear();
    for (std::size_t i = 0; i < items.size(); ++i)
        to.states.push_back({number(5 + 3 * i) * billion + number(6 + 3 * i), items[i].cap,
                             std::chrono::milliseconds(number(7 + 3 * i))});
    return to.refused_by < items.size() || items.empty();
}

}  // namespace kw::store::redis
