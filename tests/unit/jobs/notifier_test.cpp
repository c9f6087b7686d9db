// Messages to operators: windows, claims among replicas, lanes and retries.
#include "jobs/notifier.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "tests/unit/jobs/notice_samples.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;
using config::channel_settings;
using config::channel_type;
using config::notice_kind;
using jobs::test::channel;

namespace {

struct fixture {
    store::test::temp_folder folder;
    manual_clock clock;
    std::unique_ptr<store::store> store = *store::open_embedded({folder.path, {}}, clock);
    metrics::registry registry{1};
    struct sent_to {
        std::string channel;
        jobs::notice_message message;
    };
    std::vector<sent_to> sent;
    result<void> answer;
    config::notification_settings settings;
    jobs::notifier one = make("one", 1);
    jobs::notifier two = make("two", 2);

    jobs::notifier make(const char* name, std::uint64_t seed) {
        return {*store,
                clock,
                registry,
                [this](channel_settings to, jobs::notice_message m) {
                    return take(std::move(to), std::move(m));
                },
                random_source(seed),
                name};
    }
    net::task<result<void>> take(channel_settings to, jobs::notice_message m) {
        sent.push_back({to.id, std::move(m)});
        co_return answer;
    }
    std::vector<channel_settings> all{channel(channel_type::webhook)};
};

}  // namespace

TEST_CASE("a hundred equal events in a minute are one message with their number") {
    fixture f;
    for (int i = 0; i < 100; ++i) {
        f.one.tell({notice_kind::unknown_model, "gpt-x", "asked for", true});
        f.clock.advance(500ms);
        f.one.round(f.settings, f.all);
    }
    CHECK(f.sent.empty());
    f.one.tell({notice_kind::unknown_model, "gpt-y", "asked for", true});
    f.clock.advance(10s);
    f.one.round(f.settings, f.all);
    REQUIRE(f.sent.size() == 1);
    CHECK(f.sent[0].message.count == 100);
    CHECK(f.sent[0].message.subject == "gpt-x");
    CHECK(f.sent[0].message.last - f.sent[0].message.first == 49'500ms);
    f.clock.advance(60s);
    f.one.round(f.settings, f.all);
    REQUIRE(f.sent.size() == 2);
    CHECK(f.sent[1].message.subject == "gpt-y");
    f.clock.advance(120s);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 2);
}

TEST_CASE("of what all replicas see one tells, of what is a process's own each") {
    fixture f;
    const auto both = [&](notice_kind kind, bool shared) {
        f.one.tell({kind, "s", "t", shared});
        f.clock.advance(5s);
        f.two.tell({kind, "s", "t", shared});
        f.clock.advance(60s);
        f.one.round(f.settings, f.all);
        f.two.round(f.settings, f.all);
    };
    both(notice_kind::key_banned, true);
    CHECK(f.sent.size() == 1);
    both(notice_kind::store_down, false);
    CHECK(f.sent.size() == 3);
    // The next time counts anew, whoever tells.
    f.clock.advance(60s);
    f.two.tell({notice_kind::key_banned, "s", "t", true});
    f.clock.advance(60s);
    f.two.round(f.settings, f.all);
    CHECK(f.sent.size() == 4);
    CHECK(f.sent.back().message.source == "two");
    // Also without a window.
    const auto before = f.sent.size();
    f.settings.dedup_window = 0ms;
    for (auto* replica : {&f.one, &f.two}) {
        replica->tell({notice_kind::pool_low, "g", "t", true});
        replica->round(f.settings, f.all);
        f.clock.advance(1s);
    }
    CHECK(f.sent.size() == before + 1);
    // Claims do not pile up.
    f.clock.advance(25h);
    f.one.round(f.settings, f.all);
    f.clock.advance(1h);
    f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {})->items.empty());
}

TEST_CASE("subjects that clients make up silence nothing and ask the store little") {
    fixture f;
    f.settings.dedup_window = 0ms;
    for (int i = 0; i < 1000; ++i) {
        f.one.tell({notice_kind::unknown_model, "m" + std::to_string(i), "t", true});
        f.one.tell({notice_kind::suspicious_access, "a" + std::to_string(i), "t", true});
    }
    f.one.tell({notice_kind::unknown_model, "m1", "t", true});
    f.one.tell({notice_kind::certificate_expiry, "listener", "t", true});
    f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {})->items.size() == 32);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 2 * 21 + 1);
    std::uint64_t models = 0;
    std::uint64_t others = 0;
    bool certificate = false;
    for (const auto& s : f.sent) {
        if (s.message.kind == notice_kind::unknown_model) models += s.message.count;
        if (s.message.subject == "(others)") others += s.message.count;
        certificate = certificate || s.message.kind == notice_kind::certificate_expiry;
    }
    CHECK(models == 1001);
    CHECK(others == 2 * 980);
    CHECK(certificate);
    // What lies beyond a page of claims is forgotten, too.
    for (int i = 0; i < 250; ++i)
        f.one.tell({notice_kind::key_banned, std::to_string(i), "t", true});
    for (int i = 0; i < 10; ++i)
        f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {.limit = 1'000, .cursor = {}})->items.size() ==
          2 * 21 + 1 + 250);
    f.clock.advance(3h);
    f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {.limit = 1'000, .cursor = {}})->items.size() ==
          2 * 21 + 1 + 150);
    f.one.round(f.settings, f.all);
    f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {})->items.empty());
}

TEST_CASE("what a client wrote stays within its line") {
    fixture f;
    f.settings.dedup_window = 0ms;
    f.one.tell({notice_kind::unknown_model, "a\r\nb\x7f", "c\td", true});
    f.one.round(f.settings, f.all);
    REQUIRE(f.sent.size() == 1);
    CHECK(f.sent[0].message.subject == "a  b ");
    CHECK(f.sent[0].message.text == "c d");
}

TEST_CASE("replicas of one name are told apart, and a claim of the future does not count") {
    fixture f;
    f.settings.dedup_window = 0ms;
    auto twin = f.make("one", 3);
    const auto tell = [&](jobs::notifier& by) {
        by.tell({notice_kind::pool_low, "g", "t", true});
        by.round(f.settings, f.all);
        return f.sent.size();
    };
    CHECK(tell(f.one) == 1);
    CHECK(tell(twin) == 1);
    CHECK(tell(f.one) == 2);
    const auto r = f.store->list(jobs::notice_claim_record, {})->items.at(0);
    const auto ahead = unix_ms(f.clock.wall() + 1h);
    const store::record later{r.kind, r.id, r.revision,
                              R"({"at_ms":)" + std::to_string(ahead) + R"(,"by":"x"})"};
    REQUIRE(f.store->put(later).has_value());
    CHECK(tell(twin) == 3);
}

TEST_CASE("a receiver that takes nothing leaves the others their part, a disabled one all") {
    fixture f;
    f.settings.dedup_window = 0ms;
    f.settings.queue_size = 4;
    f.answer = error(errc::upstream_reset, "status 503");
    const auto tell = [&](int messages) {
        for (int i = 0; i < messages; ++i)
            f.one.tell({notice_kind::disk_low, std::to_string(i), "t", false});
        f.one.round(f.settings, f.all);
    };
    tell(9);
    CHECK(f.one.state_of("c").waiting == 4);
    f.all.push_back(channel(channel_type::slack));
    f.all[1].id = "chat";
    tell(9);
    CHECK(f.one.state_of("c").waiting == 4);
    CHECK(f.one.state_of("chat").waiting == 2);
    const auto& waiting = f.registry.gauge("keywheel_notifications_waiting", "");
    CHECK(waiting.value() == 6);
    f.all[0].disabled = true;
    tell(0);
    CHECK(f.one.state_of("c").waiting == 0);
    CHECK(waiting.value() == 2);
}

TEST_CASE("a channel gets what it wants, and a failing one is tried again in growing steps") {
    fixture f;
    f.settings.dedup_window = 0ms;
    f.all.push_back(channel(channel_type::slack));
    f.all[1].id = "chat";
    f.all[1].events = {1U << static_cast<unsigned>(notice_kind::disk_low)};
    f.one.tell({notice_kind::key_banned, "s", "t", false});
    f.one.round(f.settings, f.all);
    REQUIRE(f.sent.size() == 1);
    CHECK(f.sent[0].channel == "c");
    f.one.tell({notice_kind::disk_low, "s", "t", false});
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 3);
    CHECK(f.one.state_of("chat").delivered == 1);

    f.all.pop_back();
    f.sent.clear();
    f.answer = error(errc::upstream_reset, "status 503");
    f.one.tell({notice_kind::key_banned, "s", "t", false});
    f.one.round(f.settings, f.all);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 1);  // not before its time
    CHECK(f.one.state_of("c").waiting == 1);
    CHECK(f.one.state_of("c").last_error == "status 503");
    f.clock.advance(1250ms);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 2);
    f.clock.advance(1250ms);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 2);
    f.answer = {};
    f.clock.advance(1250ms);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 3);
    CHECK(f.sent[0].message.id == f.sent[2].message.id);
    CHECK(f.one.state_of("c").waiting == 0);

    // Given up after its tries, at once where trying is in vain.
    f.answer = error(errc::upstream_reset, "status 503");
    f.one.tell({notice_kind::key_banned, "s", "t", false});
    for (int i = 0; i < 20; ++i) {
        f.one.round(f.settings, f.all);
        f.clock.advance(10min);
    }
    CHECK(f.sent.size() == 3 + 1 + f.settings.retry_max);
    f.answer = error(errc::invalid_argument, "status 404");
    f.one.tell({notice_kind::key_banned, "s", "t", false});
    f.one.round(f.settings, f.all);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 3 + 2 + f.settings.retry_max);
    CHECK(f.one.state_of("c").failed == 2);

    // What does not fit is dropped and counted.
    f.settings.queue_size = 2;
    f.answer = error(errc::upstream_reset, "status 503");
    for (int i = 0; i < 5; ++i)
        f.one.tell({notice_kind::key_banned, std::to_string(i), "t", false});
    f.one.round(f.settings, f.all);
    CHECK(f.one.state_of("c").waiting == 2);
    CHECK(f.registry
              .counter("keywheel_notifications_total", "",
                       {{"type", "webhook"}, {"result", "dropped"}})
              .value() == 3);
}

TEST_CASE("a test goes to its channel at once, disabled or not") {
    fixture f;
    auto c = f.all[0];
    c.disabled = true;
    f.answer = error(errc::upstream_reset, "status 500");
    std::optional<result<void>> told;
    f.one.test(c, [&](result<void> r) { told = std::move(r); });
    REQUIRE(told);
    CHECK_FALSE(told->has_value());
    CHECK(f.sent.at(0).message.kind == notice_kind::test);
}

TEST_CASE("what waits at the end leaves at once, and what cannot is counted") {
    fixture f;
    f.settings.dedup_window = 1h;
    f.one.round(f.settings, f.all);
    f.one.tell({notice_kind::disk_low, "disk", "full", false});
    f.one.round(f.settings, f.all);
    CHECK(f.sent.empty());
    CHECK_FALSE(f.one.idle());
    f.one.flush(f.settings, f.all);
    CHECK(f.sent.size() == 1);
    CHECK(f.one.idle());
    CHECK(f.one.drop_all() == 0);

    // A receiver that fails is asked once more, not in a loop.
    f.answer = error(errc::upstream_reset, "status 503");
    f.two.tell({notice_kind::disk_low, "disk", "full", false});
    for (int i = 0; i < 10; ++i)
        f.two.flush(f.settings, f.all);
    CHECK(f.sent.size() == 2);
    CHECK(f.two.drop_all() == 1);
    CHECK(f.two.idle());
    CHECK(f.registry
              .counter("keywheel_notifications_total", "",
                       {{"type", "webhook"}, {"result", "dropped"}})
              .value() == 1);
}
