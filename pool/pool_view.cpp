// Builds snapshots and lanes.
#include "pool/pool_view.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <numeric>
#include <tuple>
#include <unordered_set>

#include "core/glob.hpp"

namespace kw::pool {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::size_t max_turns = 64;      // of one key in a round of the weighted ring
constexpr std::size_t most_prepared = 16;  // lanes of a group, before anybody asks

bool matches(const std::vector<std::string>& patterns, std::string_view model) {
    if (patterns.empty() || model.empty()) return true;
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::string& p) { return glob_match(p, model); });
}

std::vector<std::uint32_t> make_schedule(const std::vector<candidate>& keys, bool equal) {
    if (equal) {
        std::vector<std::uint32_t> plain(keys.size());
        std::iota(plain.begin(), plain.end(), 0U);
        return plain;
    }
    float least = keys[0].weight;
    for (const auto& k : keys)
        least = std::min(least, k.weight);
    struct turn {
        double at;
        std::uint32_t key;
    };
    std::vector<turn> turns;
    turns.reserve(keys.size());
    for (std::uint32_t i = 0; i < keys.size(); ++i) {
        const auto n = std::clamp<std::size_t>(
            static_cast<std::size_t>(keys[i].weight / least + 0.5F), 1, max_turns);
        for (std::size_t k = 0; k < n; ++k) {
            turns.push_back({(static_cast<double>(k) + 0.5) / static_cast<double>(n), i});
        }
    }
    std::sort(turns.begin(), turns.end(), [](const turn& a, const turn& b) {
        return std::tie(a.at, a.key) < std::tie(b.at, b.key);
    });
    std::vector<std::uint32_t> out;
    out.reserve(turns.size());
    for (const auto& t : turns)
        out.push_back(t.key);
    return out;
}

// The id in that place of a ring.
std::string_view id_at(const ring_cursor& c, std::size_t place) noexcept {
    std::string_view rest = c.ids;
    for (; place > 0; --place)
        rest.remove_prefix(rest.find('\n') + 1);
    return rest.substr(0, rest.find('\n'));
}

// Goes on after the key served last: the new ring starts at the first id behind it.
void join_ring(lane& l, std::span<const member> members, ring_cursor& c, std::mutex& mutex) {
    const auto id_of = [&](std::uint32_t i) -> const std::string& {
        return members[l.keys[i].member].key->id;
    };
    std::string ids;
    ids.reserve(l.schedule.size() * (id_of(0).size() + 1));
    for (const auto i : l.schedule)
        ids.append(id_of(i)).push_back('\n');
    const std::lock_guard lock(mutex);
    l.cursor = &c;
    if (c.ids == ids) {
        l.base = c.base;
        l.offset = c.offset;
        return;
    }
    const auto next = c.next.load(relaxed);
    l.base = next;
    l.offset = 0;
    if (c.size > 0 && next > 0) {
        const std::string last(
            id_at(c, (c.offset + (next - 1) + c.size - (c.base % c.size)) % c.size));
        const auto behind =
            std::ranges::find_if(l.schedule, [&](std::uint32_t i) { return id_of(i) > last; });
        l.offset = behind == l.schedule.end()
                       ? 0
                       : static_cast<std::uint64_t>(behind - l.schedule.begin());
    }
    c.ids = std::move(ids);
    c.size = l.schedule.size();
    c.base = l.base;
    c.offset = l.offset;
}

template <class T>
T median_of(std::vector<T>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// A key that joins others starts where their middle is, so that arg-max does not flood it.
void seat_newcomers(const std::vector<member>& all, const std::vector<slot_id>& fresh,
                    state_table& states) {
    if (fresh.empty() || fresh.size() == all.size()) return;
    std::vector<std::uint32_t> newcomers;
    newcomers.reserve(fresh.size());
    for (const slot_id slot : fresh)
        newcomers.push_back(slot.index);
    std::sort(newcomers.begin(), newcomers.end());
    std::vector<std::int64_t> tokens;
    std::vector<std::uint32_t> uses;
    double success = 0;
    for (const auto& m : all) {
        if (std::binary_search(newcomers.begin(), newcomers.end(), m.slot.index)) continue;
        const key_state& s = *states.get(m.slot);
        tokens.push_back(s.rank_tokens.load(relaxed));
        uses.push_back(s.rank_uses.load(relaxed));
        success += static_cast<double>(s.success.load(relaxed));
    }
    const auto mean = static_cast<float>(success / static_cast<double>(tokens.size()));
    const auto tokens_median = median_of(tokens);
    const auto uses_median = median_of(uses);
    for (const slot_id slot : fresh) {
        key_state& s = *states.get(slot);
        s.rank_tokens.store(tokens_median, relaxed);
        s.rank_uses.store(uses_median, relaxed);
        s.success.store(mean, relaxed);
    }
}

// The record's word on a key: what a person disabled or banned stays so, what a person enabled
// again is free.
void apply_record(const upstream_key& k, key_state& s) {
    const bool blocked = s.reason() == block_reason::admin;
    if (k.status != admin_status::enabled || k.value.empty()) {
        s.set_gate(k.status == admin_status::banned ? key_status::banned : key_status::disabled,
                   block_reason::admin, forever);
    } else if (blocked) {
        s.set_gate(key_status::active, block_reason::none, 0);
    }
    if (k.last_test == test_outcome::success) s.gate.fetch_or(0x100U, relaxed);
}

}  // namespace

group_view::group_view(group_ptr g, std::vector<member> members, state_table& states)
    : group_(std::move(g)), members_(std::move(members)), states_(states) {
    std::sort(members_.begin(), members_.end(),
              [](const member& a, const member& b) { return a.key->id < b.key->id; });
    std::map<std::vector<std::string>, std::uint32_t> classes;
    for (auto& m : members_) {
        const auto& patterns = m.key->models.empty() ? group_->models : m.key->models;
        const auto [at, fresh] =
            classes.emplace(patterns, static_cast<std::uint32_t>(pattern_classes_.size()));
        if (fresh) pattern_classes_.push_back(patterns);
        m.pattern_class = at->second;
    }
}

const lane* group_view::lane_for(std::string_view model) const {
    std::vector<bool> serves(pattern_classes_.size());
    bool any = false;
    for (std::size_t i = 0; i < serves.size(); ++i) {
        serves[i] = matches(pattern_classes_[i], model);
        any = any || serves[i];
    }
    if (!any) return nullptr;
    const std::lock_guard lock(mutex_);
    for (const auto& made : lanes_) {
        if (made.serves == serves) return made.keys.get();
    }
    auto l = std::make_unique<lane>();
    bool equal = true;
    std::string name = group_->id;
    for (std::size_t i = 0; i < serves.size(); ++i) {
        if (!serves[i]) continue;
        name += '\n';
        for (const auto& p : pattern_classes_[i])
            name.append(p).push_back(' ');
    }
    for (std::uint32_t i = 0; i < members_.size(); ++i) {
        const member& m = members_[i];
        if (!serves[m.pattern_class]) continue;
        candidate c;
        c.state = states_.get(m.slot);
        if (c.state == nullptr) continue;  // a view that has been replaced meanwhile
        c.weight = static_cast<float>(std::max(m.key->weight_ppm, 1U)) / float{one_ppm};
        c.inv_weight = 1.0F / c.weight;
        c.capped = !(m.key->caps == key_caps{});
        c.member = i;
        c.slot = m.slot;
        equal = equal && (l->keys.empty() || l->keys[0].weight == c.weight);
        l->keys.push_back(c);
    }
    if (l->keys.empty()) return nullptr;
    for (std::uint32_t i = 0; i < l->keys.size(); ++i)
        l->by_slot.emplace_back(l->keys[i].slot.index, i);
    std::sort(l->by_slot.begin(), l->by_slot.end());
    l->schedule = make_schedule(l->keys, equal);
    if (!equal) {
        double sum = 0;
        for (const auto& k : l->keys)
            l->weight_sums.push_back(sum += static_cast<double>(k.weight));
    }
    join_ring(*l, members_, states_.cursor(name), states_.ring_mutex());
    lanes_.push_back({std::move(serves), std::string(model), std::move(l)});
    return lanes_.back().keys.get();
}

void group_view::prepare(const group_view* before) const {
    // Whatever is asked for, there is but one lane. (Every class serves the model "".)
    if (pattern_classes_.size() == 1) {
        (void)lane_for({});
        return;
    }
    if (before == nullptr) return;
    std::vector<std::string> models;
    {
        const std::lock_guard lock(before->mutex_);
        for (const auto& l : before->lanes_)
            if (models.size() < most_prepared) models.push_back(l.model);
    }
    for (const auto& model : models)
        (void)lane_for(model);
}

const candidate* lane::find(std::uint32_t slot) const noexcept {
    const auto at = std::lower_bound(by_slot.begin(), by_slot.end(), std::pair(slot, 0U));
    return at != by_slot.end() && at->first == slot ? &keys[at->second] : nullptr;
}

const member* group_view::find(std::string_view key_id) const noexcept {
    const auto at =
        std::lower_bound(members_.begin(), members_.end(), key_id,
                         [](const member& m, std::string_view id) { return m.key->id < id; });
    return at != members_.end() && at->key->id == key_id ? &*at : nullptr;
}

const group_view* pool_view::find_group(std::string_view id) const noexcept {
    for (const auto& g : groups_) {
        if (g->settings().id == id) return g.get();
    }
    return nullptr;
}

std::shared_ptr<const pool_view> build(std::vector<group_ptr> groups, std::vector<key_ptr> keys,
                                       state_table& states, const pool_view* before) {
    static std::atomic<std::uint64_t> versions{0};
    auto view = std::make_shared<pool_view>();
    view->version_ = versions.fetch_add(1, relaxed) + 1;
    std::sort(groups.begin(), groups.end(), [](const group_ptr& a, const group_ptr& b) {
        return std::tie(a->priority, a->id) < std::tie(b->priority, b->id);
    });
    struct gathered {
        std::vector<member> members;
        std::vector<slot_id> fresh;
    };
    std::unordered_map<std::string_view, gathered> by_group;
    std::unordered_map<std::string_view, const group*> known;
    for (const auto& g : groups)
        known.emplace(g->id, g.get());
    std::unordered_set<std::string_view> present;
    for (const auto& k : keys) {
        const auto at = known.find(k->group_id);
        if (at == known.end() || !present.insert(k->id).second) continue;
        const group& of = *at->second;
        const bool fresh = !states.find(k->id).has_value();
        const slot_id slot = states.acquire(k->id);
        key_state* s = states.get(slot);
        if (s == nullptr) continue;  // the table is full
        s->host.store(states.host_index(host_of(k->base_url.empty() ? of.base_url : k->base_url)),
                      relaxed);
        set_told_quota(*s, *k, s->told_left.load(relaxed));
        apply_record(*k, *s);
        auto& into = by_group[of.id];
        into.members.push_back({k, slot, 0});
        if (fresh) into.fresh.push_back(slot);
        ++view->key_count_;
    }
    for (const auto& [id, slot] : states.all()) {
        if (!present.contains(id)) states.release(id);
    }
    for (auto& g : groups) {
        view->has_sessions_ |= g->sessions.value_or(session_policy::off) != session_policy::off;
        auto& of = by_group[g->id];
        seat_newcomers(of.members, of.fresh, states);
        view->groups_.push_back(std::make_unique<group_view>(g, std::move(of.members), states));
        view->groups_.back()->prepare(before != nullptr ? before->find_group(g->id) : nullptr);
    }
    states.bump_epoch();
    return view;
}

void set_told_quota(key_state& s, const upstream_key& key, std::int64_t left) noexcept {
    s.told_left.store(left, relaxed);
    if (left == unknown_amount && key.quota_tokens)
        left = *key.quota_tokens - s.tokens.load(relaxed);
    s.quota_left.store(left, relaxed);
}

std::shared_ptr<const pool_view> build(std::vector<group> groups, std::vector<upstream_key> keys,
                                       state_table& states) {
    std::vector<group_ptr> g;
    std::vector<key_ptr> k;
    g.reserve(groups.size());
    k.reserve(keys.size());
    for (auto& x : groups)
        g.push_back(std::make_shared<group>(std::move(x)));
    for (auto& x : keys)
        k.push_back(std::make_shared<upstream_key>(std::move(x)));
    return build(std::move(g), std::move(k), states);
}

}  // namespace kw::pool
