// Whatever is sent to a route of the admin API, it answers in the envelope: done, or a refusal that
// is the caller's fault. An input is a line "METHOD path?query" and the body behind it.
#include <boost/json.hpp>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "admin/admin_api.hpp"
#include "admin/trail.hpp"
#include "auth/key_book.hpp"
#include "config/settings.hpp"
#include "core/crypto.hpp"
#include "core/metrics.hpp"
#include "pool/health.hpp"
#include "pool/key_test.hpp"
#include "store/journal_shipper.hpp"
#include "store/store.hpp"
#include "tests/unit/admin/fake_config.hpp"
#include "tests/unit/store/temp_folder.hpp"
#include "usage/prices.hpp"

using namespace kw;
using namespace kw::admin;

namespace {

constexpr const char* admin_secret = "the-admin-secret-of-the-fuzz-target";

struct no_tests final : pool::key_tests {
    void test(std::string, std::function<void(const pool::key_test&)> done) override { done({}); }
    pool::test_progress test_all(std::vector<std::string> ids) override {
        return {.id = "task_1", .total = ids.size()};
    }
    [[nodiscard]] std::vector<pool::test_progress> tasks() const override { return {}; }
    [[nodiscard]] std::optional<pool::test_progress> task(std::string_view) const override {
        return std::nullopt;
    }
};

struct world {
    store::test::temp_folder folder;
    manual_clock clock;
    std::unique_ptr<store::store> store = *store::open_embedded({folder.path, {}}, clock);
    crypto::sealer sealer{secret(std::string(32, 'm'))};
    secret pepper{std::string(43, 'p')};
    pool::state_table states;
    pool::health health{states};
    metrics::registry registry{1};
    std::shared_ptr<config::settings> settings = std::make_shared<config::settings>();
    no_tests tests;
    test::fake_config config;
    trail audit{*store, clock, random_source(2)};
    auth::key_book access_keys;
    std::uint64_t level = 0;
    int inputs = 0;
    admin_api api{admin_services{.store = audit,
                                 .access_keys = access_keys,
                                 .follow = [this] { return follow(); },
                                 .sealer = sealer,
                                 .pepper = pepper,
                                 .states = states,
                                 .health = health,
                                 .registry = registry,
                                 .clock = clock,
                                 .tests = tests,
                                 // Passwords are not what is looked at.
                                 .aside = [](auto, auto) { return false; },
                                 .changed = [] {},
                                 .settings = [this] { return settings; },
                                 .prices = [] { return usage::price_table::builtin(); },
                                 .shipper = [] { return store::shipper_stats{}; },
                                 .journal_healthy = [] { return true; },
                                 .declared_groups = {},
                                 .workers = 1,
                                 .config = &config},
                  *auth::admin_guard::make(secret(admin_secret), true), random_source(1)};

    // What was written must be readable again.
    std::uint64_t follow() {
        const auto news = *store->changes_since(level);
        if (news.reset) access_keys.clear();
        for (const store::change& c : news.items) {
            if (c.after.kind != auth::access_key_kind) continue;
            if (c.erased)
                access_keys.drop(c.after.id);
            else if (!access_keys.take(c.after))
                std::abort();
        }
        return level = news.revision;
    }
    world() {
        send("POST", "/admin/pool-groups", {}, R"({"id":"g","base_url":"https://a.example/v1"})");
        send("POST", "/admin/keys", {}, R"({"key":"sk-of-the-fuzz-target-1","poolGroup":"g"})");
    }
    void send(std::string_view method, std::string_view path, std::string_view query,
              std::string_view body) {
        net::control_request r;
        r.method = method;
        r.path = path;
        r.query = query;
        r.body = body;
        r.source = "192.0.2.1";
        r.admin_key = secret(admin_secret);
        bool answered = false;
        api.handle(r, [&](const net::control_response& answer) {
            answered = true;
            // 503: what is turned off here.
            if (answer.status < 200 || (answer.status >= 500 && answer.status != 503)) std::abort();
            if (answer.content_type != "application/json") return;
            boost::system::error_code failed;
            const auto parsed = boost::json::parse(answer.body, failed);
            if (failed || !parsed.is_object()) std::abort();
        });
        if (!answered && path != "/admin/logs/stream") std::abort();
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr int inputs_of_a_world = 500;  // the store must not grow for ever
    static std::unique_ptr<world> now;
    if (!now || ++now->inputs > inputs_of_a_world) now = std::make_unique<world>();
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    const auto blank = std::min(line.find(' '), line.size());
    const auto target = line.substr(std::min(blank + 1, line.size()));
    const auto mark = std::min(target.find('?'), target.size());
    // These make keys from passphrases, which takes its time.
    if (target.starts_with("/admin/export") || target.starts_with("/admin/login")) return 0;
    now->send(line.substr(0, blank), target.substr(0, mark),
              target.substr(std::min(mark + 1, target.size())),
              text.substr(std::min(end + 1, text.size())));
    return 0;
}
