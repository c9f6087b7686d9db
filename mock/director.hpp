// Decides what a request gets: header, rules, accounts and model names together, and the counters
// behind "once" and "for so long". What /__control changes lives here.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/clock.hpp"
#include "mock/behaviour.hpp"
#include "mock/mock_upstream.hpp"

namespace kw::mock {

enum class tls_mode : std::uint8_t { ok, slow, silent, reset };

// Any thread.
class director {
  public:
    explicit director(const mock_options& options);

    // By what the head alone tells (header, rules without a model, the account): for faults that
    // come before the body is read. Counts nothing.
    [[nodiscard]] behaviour peek(const request& r, const std::string& key, mono_time now) const;
    // Of the whole request, counted. Adds the key's x-ratelimit headers.
    [[nodiscard]] behaviour choose(const request& r, const std::string& key,
                                   const std::string& model, mono_time now, header_list& ratelimit);
    void spend(const std::string& key, std::uint64_t tokens);
    // What GET /v1/key tells of an account: its allowance and what is left; -1: endless.
    struct allowance {
        std::int64_t limit = -1;
        std::int64_t left = -1;
    };
    [[nodiscard]] allowance allowance_of(const std::string& key) const;

    // Executes a /__control body. Returns the JSON to answer; `good` false makes it a 400.
    [[nodiscard]] std::string control(std::string_view body, mono_time now, bool& good);

    // Read by listeners and streams without the lock.
    std::atomic<tls_mode> tls{tls_mode::ok};
    std::atomic<int> tls_delay_ms{0};
    std::atomic<bool> accepting{true};
    std::atomic<int> pace_ms;
    std::atomic<int> first_ms;
    std::atomic<int> tokens;

  private:
    struct rule {
        std::int64_t id = 0;
        std::string model;
        std::string key;
        std::string path;
        behaviour what;
        std::int64_t left = -1;  // -1: any number
        mono_time until = mono_time::max();
    };
    struct account {
        behaviour what;
        bool troubled = false;
        std::int64_t per_window = 0;  // 0: no limit
        std::chrono::milliseconds window{0};
        mono_time window_start{};
        std::int64_t used = 0;
        std::int64_t tokens_per_window = 0;  // 0: no limit
        std::int64_t tokens_used = 0;
        std::int64_t quota = -1;      // -1: endless
        std::int64_t quota_set = -1;  // what it was at first
    };
    struct counter {
        std::int64_t n = 0;
        mono_time first{};
    };

    [[nodiscard]] static bool matches(const rule& r, const request& q, const std::string& key,
                                      const std::string& model);
    [[nodiscard]] bool holds(const behaviour& b, const std::string& name, mono_time now);
    void account_faults(account& a, behaviour& b, mono_time now, header_list& ratelimit) const;
    [[nodiscard]] bool set_account(const std::string& key, const std::string& text);
    void reset();

    const mock_options options_;
    std::atomic<bool> plain_{true};  // no rules and no accounts: the lock is not needed
    mutable std::mutex mutex_;       // guards all below
    std::vector<rule> rules_;
    std::map<std::string, account, std::less<>> accounts_;
    std::unordered_map<std::string, counter> counters_;
    std::int64_t next_rule_ = 1;
};

}  // namespace kw::mock
