// The JSON form of keys and groups, declared keys, aliases.
#include <catch2/catch.hpp>

#include "core/crypto.hpp"
#include "pool/declared.hpp"
#include "pool/model_alias.hpp"
#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace kw::pool;
using namespace kw::pool::test;

namespace {

const crypto::sealer& test_sealer() {
    static const crypto::sealer s{secret("0123456789abcdef0123456789abcdef")};
    return s;
}

std::vector<upstream_key> after(std::vector<upstream_key> stored, const declared_diff& d) {
    for (const auto* changes : {&d.to_replace, &d.to_disable}) {
        for (const auto& k : *changes) {
            for (auto& old : stored) {
                if (old.id == k.id) old = k;
            }
        }
    }
    stored.insert(stored.end(), d.to_add.begin(), d.to_add.end());
    return stored;
}

}  // namespace

TEST_CASE("a key goes through its JSON form with the secret sealed") {
    auto k = make_key("uk_1", "g", 3);
    k.models = {"gpt-*", "o1"};
    k.notes = "n\u00f6tes";
    k.caps.concurrency = 4;
    k.quota_tokens = 1000;
    k.max_leases = 0;
    k.organization = "org-k";
    k.project = "proj-k";
    k.status = admin_status::banned;
    k.reason = "asked to";
    k.declared = true;
    const auto text = to_json(k, test_sealer());
    CHECK(text.find("sk-test") == std::string::npos);
    auto back = key_from_json(text, test_sealer());
    REQUIRE(back.has_value());
    CHECK(back->value == k.value);
    CHECK(to_json(*back, test_sealer()).size() == text.size());
    CHECK(back->models == k.models);
    CHECK(back->caps == k.caps);
    CHECK(back->status == admin_status::banned);
    CHECK(back->quota_tokens == 1000);
    CHECK(back->max_leases == 0U);
    CHECK(back->organization == "org-k");
    CHECK(back->project == "proj-k");
    // under another id or master key the secret does not open and the key is out
    const crypto::sealer other{secret("fedcba9876543210fedcba9876543210")};
    const auto foreign = key_from_json(text, other);
    REQUIRE(foreign.has_value());
    CHECK(foreign->value.empty());
    CHECK(foreign->status == admin_status::disabled);
    pool_fixture p;
    p.groups = {make_group("g")};
    p.keys = {*foreign};
    p.rebuild();
    CHECK(p.once().empty());
}

TEST_CASE("what is wrong with a record is named") {
    struct row {
        const char* json;
        const char* names;
    };
    for (const row& r : {row{R"({"id":"a","group":"g","colour":"red"})", "colour"},
                         row{R"({"id":"a","group":"g","caps":{"rpx":1}})", "caps.rpx"},
                         row{R"({"id":"a","group":"g","weight_ppm":0})", "weight_ppm"},
                         row{R"({"id":"a","group":"g","status":"lost"})", "status"},
                         row{R"({"group":"g"})", "id"}, row{"[]", "object"}, row{"{", "object"}}) {
        const auto got = key_from_json(r.json, test_sealer());
        REQUIRE(got.has_error());
        INFO(got.error().context);
        CHECK(got.error().context.find(r.names) != std::string::npos);
    }
    const auto long_notes = key_from_json(
        R"({"id":"a","group":"g","notes":")" + std::string(1001, 'x') + "\"}", test_sealer());
    CHECK(long_notes.has_error());
    CHECK(group_from_json(R"({"id":"g","fault_rules":[{"action":"explode"}]})").has_error());
    CHECK(group_from_json(R"({"id":"g","organization":"org-a\r\nx: y"})").has_error());
    CHECK(group_from_json(R"({"id":"g","project":"a b"})").has_error());
    CHECK(group_from_json(R"({"id":"g","sessions":"all"})").has_error());
    CHECK(
        key_from_json(R"({"id":"a","group":"g","organization":"a b"})", test_sealer()).has_error());
    CHECK(group_from_json(R"({"id":"g","organization":"org-a","project":"p"})").has_value());
}

TEST_CASE("a group goes through its JSON form") {
    auto g = make_group("g", "weighted-score", 3);
    g.settings.unknown = unknown_quota::avoid;
    g.settings.success_weight = 0.5;
    g.models = {"*"};
    g.on_disconnect = disconnect_policy::drain;
    g.timeouts.first_token = 10s;
    g.fault_rules.push_back({});
    g.fault_rules[0].status_from = 418;
    g.fault_rules[0].action = fault_action::ban;
    g.fault_rules[0].duration = 3s;
    g.retry = false;
    CHECK(to_json(g).find("session") == std::string::npos);
    g.sessions = session_policy::prefix;
    g.session_lifetime = 90s;
    const auto back = group_from_json(to_json(g));
    REQUIRE(back.has_value());
    CHECK(to_json(*back) == to_json(g));
    CHECK(back->fault_rules == g.fault_rules);
    CHECK(back->settings == g.settings);
    CHECK(back->sessions == session_policy::prefix);
    CHECK(back->session_lifetime == 90s);
    CHECK(back->timeouts == g.timeouts);
    CHECK(host_of("HTTPS://Api.Example/v1?x") == "https://api.example:443");
    CHECK(host_of("http://h:81") == "http://h:81");
}

TEST_CASE("declared keys: a,b then b,c") {
    crypto::hmac_sha256 print{secret("fingerprint key of the store, any text")};
    random_source random(1);
    const manual_clock clock;
    const auto declare = [](std::vector<const char*> texts) {
        std::vector<declared_key> out;
        for (const auto* t : texts) {
            declared_key d;
            d.group_id = "openai";
            d.value = secret(t);
            out.push_back(std::move(d));
        }
        return out;
    };
    const auto diff = [&](const std::vector<declared_key>& d, const std::vector<upstream_key>& s) {
        return diff_declared(d, s, print, clock.wall(), random);
    };
    auto api = make_key("uk_api", "openai");
    std::vector<upstream_key> stored{api};
    auto d = diff(declare({"sk-a", "sk-b", "sk-a"}), stored);
    CHECK(d.to_add.size() == 2);
    stored = after(stored, d);
    CHECK(diff(declare({"sk-a", "sk-b"}), stored).empty());
    const auto b = stored[2].id;
    d = diff(declare({"sk-b", "sk-c"}), stored);
    REQUIRE(d.to_add.size() == 1);
    CHECK(d.to_add[0].value == secret("sk-c"));
    CHECK(d.to_add[0].alias == "openai-3");
    REQUIRE(d.to_disable.size() == 1);
    CHECK(d.to_disable[0].value == secret("sk-a"));
    CHECK(d.to_replace.empty());
    stored = after(stored, d);
    CHECK(stored[2].id == b);
    CHECK(stored[0].status == admin_status::enabled);  // made through the API
    CHECK(diff(declare({"sk-b", "sk-c"}), stored).empty());
    d = diff(declare({"sk-a", "sk-b", "sk-c"}), stored);
    REQUIRE(d.to_replace.size() == 1);
    CHECK(d.to_replace[0].status == admin_status::enabled);
    // one that a person disabled stays so
    stored[2].status = admin_status::disabled;
    stored[2].reason = "by hand";
    CHECK(diff(declare({"sk-b", "sk-c"}), stored).empty());
    // a named key keeps its id when its secret changes
    auto named = declare({"sk-x"});
    named[0].name = "main";
    stored = after({}, diff(named, {}));
    const auto id = stored[0].id;
    named[0].value = secret("sk-y");
    d = diff(named, stored);
    CHECK(d.to_add.empty());
    REQUIRE(d.to_replace.size() == 1);
    CHECK(d.to_replace[0].id == id);
    CHECK(d.to_replace[0].value == secret("sk-y"));
}

TEST_CASE("model aliases and their fallbacks") {
    CHECK(parse_route("m@g").value() == model_route{"m", "g"});
    CHECK(parse_route("a@b@g").value() == model_route{"a@b", "g"});
    CHECK(parse_route("@g").has_error());
    CHECK(parse_route("m@").has_error());
    alias_table t;
    model_alias a;
    a.name = "fast";
    a.target = {"gpt-mini", ""};
    a.fallbacks = {{"haiku", "anthropic"}, {"flash", "google"}};
    a.larger = {{"gpt-large", ""}};
    REQUIRE(t.add(a).has_value());
    CHECK(t.add(a).has_error());
    model_alias chain;
    chain.name = "faster";
    chain.target = {"fast", ""};
    CHECK(t.add(chain).has_error());
    model_alias self;
    self.name = self.target.model = "gpt-4";
    CHECK(t.add(self).has_value());
    CHECK(t.resolve("fast").model == "gpt-mini");
    CHECK(t.resolve("other") == model_route{"other", ""});
    CHECK(t.next("fast", fallback_cause::unavailable, 1)->group == "google");
    CHECK(t.next("fast", fallback_cause::unavailable, 2) == nullptr);
    CHECK(t.next("fast", fallback_cause::context_length, 0)->model == "gpt-large");
    CHECK(t.next("gpt-4", fallback_cause::context_length, 0) == nullptr);
    upstream_result r;
    r.status = 400;
    r.code = "context_length_exceeded";
    CHECK(cause_of(r, classify(r)) == fallback_cause::context_length);
    r.code = "content_filter";
    CHECK_FALSE(cause_of(r, classify(r)).has_value());
    r = {};
    r.transport = transport_failure::first_token_timeout;
    CHECK(cause_of(r, classify(r)) == fallback_cause::first_token);
}
