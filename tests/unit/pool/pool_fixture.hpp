// Helpers of the pool's tests: groups and keys in a line, picks under a manual clock.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "pool/health.hpp"
#include "pool/selector.hpp"
#include "pool/strategy.hpp"

namespace kw::pool::test {

using namespace std::chrono_literals;

inline group make_group(std::string id, std::string strategy = "round-robin",
                        std::int32_t priority = 0) {
    group g;
    g.id = g.name = std::move(id);
    g.strategy = std::move(strategy);
    g.priority = priority;
    g.base_url = "https://" + g.id + ".example/v1";
    return g;
}

inline upstream_key make_key(std::string id, std::string group_id, std::uint32_t weight = 1) {
    upstream_key k;
    k.id = k.alias = std::move(id);
    k.group_id = std::move(group_id);
    k.weight_ppm = weight * one_ppm;
    k.value = secret("sk-test-" + k.id);
    k.last_test = test_outcome::success;
    return k;
}

inline std::string numbered(int i) {
    auto n = std::to_string(i);
    return "k" + std::string(6 - n.size(), '0') + n;
}

// A pool of one group with keys k000000…, or what a test puts in.
struct pool_fixture {
    manual_clock clock;
    state_table states;
    health keys_health{states};
    selector select{states, random_source(7)};
    std::vector<group> groups;
    std::vector<upstream_key> keys;
    std::shared_ptr<const pool_view> view;

    void rebuild() { view = build(groups, keys, states); }
    void fill(const std::string& strategy, int n) {
        groups = {make_group("g", strategy)};
        keys.clear();
        for (int i = 0; i < n; ++i)
            keys.push_back(make_key(numbered(i), "g"));
        rebuild();
    }
    pick_request request(std::string_view model = "m") const {
        pick_request r;
        r.model = model;
        r.now = clock.mono();
        return r;
    }
    // One exchange that ends at once; "" when there is no key.
    std::string once(std::int32_t estimate = 0, std::int64_t tokens = 0) {
        auto r = request();
        r.estimated_tokens = estimate;
        auto p = select.pick(*view, r);
        if (!p) return {};
        p->use.settle(tokens);
        return p->key->id;
    }
    // What a lessee would have leased of the key's caps.
    void lease(const std::string& id, std::int32_t permits, std::int64_t requests = no_cap,
               std::int64_t minute_tokens = no_cap, std::int64_t day_tokens = no_cap) {
        auto& s = state(id);
        s.permits = permits;
        s.requests_left = requests;
        s.minute_tokens_left = minute_tokens;
        s.day_tokens_left = day_tokens;
        s.short_of = 0;
    }
    key_state& state(const std::string& id) { return *states.get(*states.find(id)); }
    slot_id slot(const std::string& id) { return *states.find(id); }
    void apply(const std::string& id, std::uint16_t status, std::string_view code = {},
               limit_hints hints = {}) {
        upstream_result r;
        r.status = status;
        r.code = code;
        r.hints = hints;
        keys_health.apply(slot(id), classify(r), clock.mono(), clock.wall());
    }
};

}  // namespace kw::pool::test
