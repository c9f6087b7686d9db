// Choice of behaviour, and the control calls.
#include "mock/director.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

namespace kw::mock {
namespace {

constexpr std::size_t counter_limit = 200'000;

std::int64_t trailing_number(std::string_view text) {
    std::int64_t n = 0;
    const auto at = text.find_first_of(":;");
    if (at == std::string_view::npos) return 0;
    std::from_chars(text.data() + at + 1, text.data() + text.size(), n);
    return n;
}

void rate_headers(header_list& to, std::int64_t limit, std::int64_t left, std::int64_t reset_ms) {
    to.emplace_back("x-ratelimit-limit-requests", std::to_string(limit));
    to.emplace_back("x-ratelimit-remaining-requests", std::to_string(left));
    to.emplace_back("x-ratelimit-reset-requests", std::to_string(reset_ms) + "ms");
}

}  // namespace

director::director(const mock_options& options)
    : pace_ms(static_cast<int>(options.pace.count())),
      first_ms(static_cast<int>(options.first_token.count())),
      tokens(static_cast<int>(options.tokens)),
      options_(options) {}

bool director::matches(const rule& r, const request& q, const std::string& key,
                       const std::string& model) {
    return (r.key.empty() || r.key == key) && (r.model.empty() || r.model == model) &&
           (r.path.empty() || q.path.starts_with(r.path));
}

behaviour director::peek(const request& r, const std::string& key, mono_time now) const {
    behaviour b;
    if (const auto header = r.header("x-mock-fault"); !header.empty()) {
        if (!parse_faults(header, b)) b = behaviour{};
        return b;
    }
    if (plain_) return b;
    const std::lock_guard lock(mutex_);
    for (auto it = rules_.rbegin(); it != rules_.rend(); ++it) {
        if (!it->model.empty() || it->left == 0 || now >= it->until) continue;
        if (matches(*it, r, key, {})) return it->what;
    }
    return b;
}

bool director::holds(const behaviour& b, const std::string& name, mono_time now) {
    if (!b.conditional()) return true;
    if (counters_.size() > counter_limit) counters_.clear();
    counter& c = counters_[name];
    if (c.n++ == 0) c.first = now;
    if (b.first_n >= 0 && c.n > b.first_n) return false;
    if (b.for_ms >= 0 && now - c.first >= std::chrono::milliseconds(b.for_ms)) return false;
    return b.every < 0 || c.n % b.every == 0;
}

void director::account_faults(account& a, behaviour& b, mono_time now,
                              header_list& ratelimit) const {
    if (a.troubled) {
        b = a.what;
        return;
    }
    if (a.quota == 0) {
        b.status = 429;
        b.code = "insufficient_quota";
        return;
    }
    if (a.per_window <= 0) return;
    if (now - a.window_start >= a.window) {
        a.window_start = now;
        a.used = 0;
        a.tokens_used = 0;
    }
    const auto reset =
        std::chrono::ceil<std::chrono::milliseconds>(a.window_start + a.window - now);
    const std::int64_t left = std::max<std::int64_t>(0, a.per_window - a.used - 1);
    ratelimit.clear();
    rate_headers(ratelimit, a.per_window, left, reset.count());
    bool over = a.used >= a.per_window;
    if (a.tokens_per_window > 0) {
        over = over || a.tokens_used >= a.tokens_per_window;
        ratelimit.emplace_back("x-ratelimit-limit-tokens", std::to_string(a.tokens_per_window));
        ratelimit.emplace_back(
            "x-ratelimit-remaining-tokens",
            std::to_string(std::max<std::int64_t>(0, a.tokens_per_window - a.tokens_used)));
        ratelimit.emplace_back("x-ratelimit-reset-tokens", std::to_string(reset.count()) + "ms");
    }
    if (over) {
        b.status = 429;
        b.code = "rate_limit_exceeded";
        b.headers.emplace_back("retry-after", std::to_string((reset.count() + 999) / 1000));
        b.headers.emplace_back("retry-after-ms", std::to_string(reset.count()));
    } else {
        ++a.used;
    }
}

behaviour director::choose(const request& r, const std::string& key, const std::string& model,
                           mono_time now, header_list& ratelimit) {
    rate_headers(ratelimit, 10'000, 9'999, 6);
    ratelimit.emplace_back("x-ratelimit-limit-tokens", "2000000");
    ratelimit.emplace_back("x-ratelimit-remaining-tokens", "1999000");
    ratelimit.emplace_back("x-ratelimit-reset-tokens", "30ms");

    behaviour by_model;
    const bool model_speaks = parse_model(model, by_model);
    behaviour shape = by_model.healthy();
    const auto header = r.header("x-mock-fault");
    if (header.empty() && plain_ && !by_model.conditional()) return by_model;

    const std::lock_guard lock(mutex_);
    behaviour b = shape;
    if (!header.empty()) {
        if (!parse_faults(header, b)) {
            b = behaviour{};
            b.status = 400;
            b.code = "unknown_fault";
            return b;
        }
        if (b.ok || !holds(b, "header:" + std::string(header), now)) return b.healthy();
        return b;
    }
    for (auto it = rules_.rbegin(); it != rules_.rend(); ++it) {
        if (!matches(*it, r, key, model) || it->left == 0 || now >= it->until) continue;
        if (it->left > 0) --it->left;
        behaviour what = it->what;
        if (what.ok || !holds(what, "rule:" + std::to_string(it->id), now)) return shape;
        return what;
    }
    // Who has nothing left may still ask how much it is.
    if (const auto it = accounts_.find(key); it != accounts_.end() && r.path != "/v1/key") {
        account_faults(it->second, b, now, ratelimit);
        if (it->second.troubled || b.status != 0) return b;
    }
    if (!model_speaks) return b;
    return by_model.ok || !holds(by_model, "model:" + model, now) ? shape : by_model;
}

void director::spend(const std::string& key, std::uint64_t spent) {
    if (plain_) return;
    const std::lock_guard lock(mutex_);
    const auto it = accounts_.find(key);
    if (it == accounts_.end()) return;
    it->second.tokens_used += static_cast<std::int64_t>(spent);
    if (it->second.quota < 0) return;
    it->second.quota =
        std::max<std::int64_t>(0, it->second.quota - static_cast<std::int64_t>(spent));
}

director::allowance director::allowance_of(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    const auto it = accounts_.find(key);
    if (it == accounts_.end()) return {};
    return {it->second.quota_set, it->second.quota};
}

bool director::set_account(const std::string& key, const std::string& text) {
    account a;
    a.quota = accounts_[key].quota;
    a.quota_set = accounts_[key].quota_set;
    const auto refuse = [&](int status, const char* code) {
        a.troubled = true;
        a.what.status = status;
        a.what.code = code;
    };
    const std::string_view name = std::string_view(text).substr(0, text.find_first_of(":;"));
    const auto n = trailing_number(text);
    if (name == "insufficient_quota") {
        refuse(429, "insufficient_quota");
    } else if (name == "billing") {
        refuse(402, "");
    } else if (name == "invalid") {
        refuse(401, "invalid_api_key");
    } else if (name == "deactivated") {
        refuse(401, "account_deactivated");
    } else if (name == "forbidden") {
        refuse(403, "");
    } else if (name == "down") {
        refuse(503, "");
    } else if (name == "overloaded") {
        refuse(529, "");
    } else if (name == "status" && n >= 400 && n < 600) {
        refuse(static_cast<int>(n), "");
    } else if (name == "silent" || name == "reset") {
        a.troubled = parse_faults(name, a.what);
    } else if ((name == "rate_limited" || name == "rpm") && n > 0) {
        a.per_window = n;
        a.window =
            name == "rpm" ? std::chrono::milliseconds(60'000) : std::chrono::milliseconds(1'000);
    } else if (name == "limits") {
        // limits:REQUESTS:TOKENS:MS
        std::int64_t ms = 0;
        std::int64_t* const parts[] = {&a.per_window, &a.tokens_per_window, &ms};
        auto rest = std::string_view(text).substr(name.size());
        for (auto* part : parts) {
            if (!rest.starts_with(':')) return false;
            rest.remove_prefix(1);
            const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), *part);
            if (read.ec != std::errc{} || *part < 1) return false;
            rest.remove_prefix(static_cast<std::size_t>(read.ptr - rest.data()));
        }
        if (!rest.empty()) return false;
        a.window = std::chrono::milliseconds(ms);
    } else if (name != "ok") {
        return false;
    }
    accounts_[key] = std::move(a);
    return true;
}

void director::reset() {
    rules_.clear();
    accounts_.clear();
    counters_.clear();
    plain_ = true;
    tls = tls_mode::ok;
    tls_delay_ms = 0;
    accepting = true;
    pace_ms = static_cast<int>(options_.pace.count());
    first_ms = static_cast<int>(options_.first_token.count());
    tokens = static_cast<int>(options_.tokens);
}

std::string director::control(std::string_view body, mono_time now, bool& good) {
    good = false;
    boost::system::error_code ec;
    const auto parsed = boost::json::parse(body, ec);
    if (ec || !parsed.is_object()) return R"({"error":"the body must be a JSON object"})";
    const auto& in = parsed.get_object();
    const auto text = [&](const char* name) {
        const auto* v = in.if_contains(name);
        return v && v->is_string() ? std::string(v->get_string()) : std::string();
    };
    const auto number = [&](const char* name, std::int64_t otherwise) {
        const auto* v = in.if_contains(name);
        return v && v->is_int64() ? v->get_int64() : otherwise;
    };
    const auto given = [&](const char* name) { return in.contains(name); };
    const auto small = [&](const char* name) {
        return static_cast<int>(std::clamp<std::int64_t>(number(name, 0), 0, 1'000'000'000));
    };

    const std::lock_guard lock(mutex_);
    if (const auto* all = in.if_contains("reset"); all && *all == true) reset();
    if (given("pace")) pace_ms = small("pace");
    if (given("tokens")) tokens = small("tokens");
    if (given("first_token")) first_ms = small("first_token");
    if (const auto* v = in.if_contains("accept"); v && v->is_bool()) accepting = v->get_bool();
    if (given("tls")) {
        const auto mode = text("tls");
        tls_delay_ms = static_cast<int>(trailing_number(mode));
        if (mode.starts_with("slow")) {
            tls = tls_mode::slow;
        } else if (mode == "silent") {
            tls = tls_mode::silent;
        } else if (mode == "reset") {
            tls = tls_mode::reset;
        } else if (mode == "ok") {
            tls = tls_mode::ok;
        } else {
            return R"({"error":"unknown tls mode"})";
        }
    }
    if (given("remove")) {
        const auto id = number("remove", 0);
        std::erase_if(rules_, [&](const rule& r) { return r.id == id; });
    }
    std::int64_t made = 0;
    if (given("fault")) {
        rule r;
        if (!parse_faults(text("fault"), r.what)) return R"({"error":"unknown fault"})";
        r.model = text("model");
        r.key = text("key");
        r.path = text("path");
        r.left = number("count", -1);
        if (const auto ms = number("for_ms", -1); ms >= 0) {
            r.until = now + std::chrono::milliseconds(ms);
        }
        r.id = made = next_rule_++;
        rules_.push_back(std::move(r));
        plain_ = false;
    } else if (given("behaviour") || given("quota_tokens")) {
        const auto key = text("key");
        if (key.empty()) return R"({"error":"an account needs its key"})";
        if (given("behaviour") && !set_account(key, text("behaviour"))) {
            return R"({"error":"unknown behaviour"})";
        }
        if (given("quota_tokens"))
            accounts_[key].quota = accounts_[key].quota_set = number("quota_tokens", -1);
        plain_ = false;
    }
    good = true;
    return made ? R"({"rule":)" + std::to_string(made) + "}" : R"({"ok":true})";
}

}  // namespace kw::mock
