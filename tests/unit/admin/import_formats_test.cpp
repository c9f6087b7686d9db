// Documents of other gateways: what is taken from each, and that no malformed one does harm.
#include "admin/import_formats.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <random>

#include "config/yaml_json.hpp"

using namespace kw;
using namespace kw::admin;
namespace json = boost::json;

namespace {

struct reader {
    int next = 0;
    std::map<std::string, std::string> environment;
    import_makers make{
        .id = [this](
                  std::string_view prefix) { return std::string(prefix) + std::to_string(++next); },
        .hash = [](const secret& text) { return crypto::sha256(text.reveal()); },
        .text = [] { return secret("sk-kw-made-here"); },
        .variable = [this](const std::string& name) -> std::optional<std::string> {
            const auto at = environment.find(name);
            return at == environment.end() ? std::nullopt : std::optional(at->second);
        },
        .now = wall_time(std::chrono::seconds(1'700'000'000))};

    result<foreign_records> try_read(std::string_view text) {
        json::value value;
        const bool is_json = text.starts_with('{') || text.starts_with('[');
        if (is_json) {
            boost::system::error_code failed;
            value = json::parse(text, failed);
            if (failed) return error(errc::invalid_argument, "not JSON");
        }
        const import_source from{is_json ? std::string_view() : text, is_json ? &value : nullptr};
        auto format = guess_format(from);
        if (format == import_format::keywheel) format = import_format::keys;
        return read_foreign(format, from, "home", make);
    }
    foreign_records read(std::string_view text) {
        auto got = try_read(text);
        if (!got) UNSCOPED_INFO(got.error().context);
        REQUIRE(got.has_value());
        return std::move(*got);
    }
};

std::string text_of(const parcel& p, const char* name) {
    const auto* v = p.data->if_contains(name);
    return v != nullptr && v->is_string() ? std::string(v->get_string()) : "";
}

constexpr const char* litellm = R"(
model_list:
  - model_name: fast
    litellm_params:
      model: openai/gpt-4o-mini
      api_key: os.environ/KEY_ONE
      weight: 2
      rpm: 60
  - model_name: gpt-4o
    litellm_params: {model: gpt-4o, api_key: sk-two-two-two, stream_timeout: 5}
  - model_name: gpt-4o-mini
    litellm_params: {model: gpt-4o-mini, api_key: sk-two-two-two}
  - model_name: own
    litellm_params: {model: hosted_vllm/llama, api_base: "http://llm.example:8000/v1/", api_key: k1234567}
  - model_name: claude
    litellm_params: {model: claude-sonnet, api_key: os.environ/ENCRYPTION_KEY}
  - model_name: cloud
    litellm_params: {model: bedrock/claude}
general_settings: {master_key: sk-1234}
)";

}  // namespace

TEST_CASE("LiteLLM's deployments become groups and keys") {
    reader r;
    r.environment = {{"KEY_ONE", "sk-one-one-one"}, {"ENCRYPTION_KEY", "canary"}};
    const auto got = r.read(litellm);
    const auto& items = got.records.items;
    REQUIRE(items.size() == 5);
    CHECK(items[0].id == "litellm-openai");
    CHECK(text_of(items[0], "base_url") == "https://api.openai.com/v1");
    CHECK(items[0].data->at("models") == json::array({"gpt-4o-mini", "gpt-4o"}));
    CHECK(items[1].id == "litellm-hosted_vllm-llm.example-8000-v1");
    CHECK(text_of(items[1], "base_url") == "http://llm.example:8000/v1");
    CHECK(text_of(items[2], "key") == "sk-one-one-one");
    CHECK(items[2].data->at("weight_ppm").as_int64() == 2'000'000);
    CHECK(items[2].data->at("caps").at("rpm").as_int64() == 60);
    CHECK(text_of(items[3], "key") == "sk-two-two-two");
    CHECK(items[3].data->at("models") == json::array({"gpt-4o", "gpt-4o-mini"}));
    CHECK(text_of(items[4], "group") == items[1].id);
    std::string ignored;
    for (const auto& one : got.records.ignored)
        ignored += one + "\n";
    for (const char* words :
         {"model_list[0].model_name", "model_list[1].litellm_params.stream_timeout",
          "model_list[4].litellm_params.api_key", "model_list[5]", "general_settings"})
        CHECK(ignored.find(words) != std::string::npos);
    CHECK(ignored.find("canary") == std::string::npos);
    CHECK(ignored.find("sk-") == std::string::npos);
}

TEST_CASE("lists of keys as text, CSV and JSON") {
    reader r;
    const auto lines = r.read("# mine\r\n  sk-aaaaaaaa \r\n\nsk-bbbbbbbb, of the team ,vip\n");
    REQUIRE(lines.records.items.size() == 2);
    CHECK(text_of(lines.records.items[0], "key") == "sk-aaaaaaaa");
    CHECK(text_of(lines.records.items[0], "group") == "home");
    CHECK(text_of(lines.records.items[1], "notes") == "of the team");
    CHECK(text_of(lines.records.items[1], "group") == "vip");
    const auto csv = r.read("note;api_key\n\"a; \"\"b\"\"\";sk-cccccccc\n");
    REQUIRE(csv.records.items.size() == 1);
    CHECK(text_of(csv.records.items[0], "notes") == "a; \"b\"");
    CHECK(text_of(csv.records.items[0], "key") == "sk-cccccccc");
    const auto list =
        r.read(R"(["sk-dddddddd",{"key":"sk-eeeeeeee","remark":"r","colour":"red"}])");
    REQUIRE(list.records.items.size() == 2);
    CHECK(text_of(list.records.items[1], "notes") == "r");
    CHECK(list.records.ignored == std::vector<std::string>{"[1].colour"});
    const auto pool = r.read(
        R"({"poolGroups":{"vip":{"name":"V","priority":3}},"keys":{"1":{"key":"sk-ffffffff",)"
        R"("poolGroup":"vip","status":"banned"}}})");
    REQUIRE(pool.records.items.size() == 2);
    CHECK(pool.records.items[0].id == "vip");
    CHECK(pool.records.items[0].data->at("priority").as_int64() == 3);
    CHECK(text_of(pool.records.items[1], "status") == "banned");
}

TEST_CASE("access keys by the names in common use; 0 is unlimited") {
    reader r;
    const auto got = r.read(
        R"([{"name":"a","apiKey":"team-key-0001","tokenLimit":500,"rateLimitWindow":2,)"
        R"("rateLimitRequests":10,"rateLimitCost":0.25,"concurrencyLimit":3,"dailyCostLimit":"1.50",)"
        R"("totalCostLimit":0,"isActive":false,"expiresAt":"2030-01-02T03:04:05Z",)"
        R"("enableModelRestriction":true,"restrictedModels":["o1*"],"enableClientRestriction":true,)"
        R"("allowedClients":["codex"],"permissions":"all","tags":["x"]},)"
        R"({"name":"b","tokenLimit":9,"restrictedModels":["o1"],"dailyCostLimit":0}])");
    REQUIRE(got.records.items.size() == 2);
    const auto& a = got.records.items[0];
    CHECK(a.data->at("limits") ==
          json::parse(R"([{"unit":"tokens","cap":500,"per":"2m","window":"fixed"},)"
                      R"({"unit":"concurrent","cap":3},)"
                      R"({"unit":"requests","cap":10,"per":"2m","window":"fixed"},)"
                      R"({"unit":"cost","cap":"0.25","per":"2m","window":"fixed"},)"
                      R"({"unit":"cost","cap":"1.5","per":"day"}])"));
    CHECK(a.data->at("disabled").as_bool());
    CHECK(a.data->at("models_deny") == json::array({"o1*"}));
    CHECK(a.data->at("clients_allow") == json::array({"*codex*"}));
    CHECK(text_of(a, "hash") == crypto::to_hex(crypto::sha256("team-key-0001")));
    CHECK(got.records.ignored == std::vector<std::string>{"[0].permissions"});
    const auto& b = got.records.items[1];
    CHECK(b.data->at("limits") == json::parse(R"([{"unit":"tokens","cap":9,"per":"total"}])"));
    CHECK_FALSE(b.data->contains("models_deny"));
    REQUIRE(got.texts.size() == 1);
    CHECK(got.texts[0].name == "b");
    CHECK_FALSE(r.try_read(R"([{"name":"a","isActive":true,"expiresAt":"soon"}])").has_value());
}

TEST_CASE("a document is bounded, and YAML's anchors too") {
    reader r;
    std::string many;
    for (int i = 0; i < 100'001; ++i)
        many += "k\n";
    CHECK_FALSE(r.try_read(many).has_value());
    std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 12; ++i) {
        laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int n = 0; n < 8; ++n)
            laughs += (n == 0 ? "*a" : ", *a") + std::to_string(i - 1);
        laughs += "]\n";
    }
    CHECK_FALSE(config::yaml_to_json(laughs).has_value());
    CHECK_FALSE(config::yaml_to_json("&x [*x]").has_value());
    CHECK_FALSE(config::yaml_to_json("a: 1\na: 2").has_value());
    CHECK_FALSE(config::yaml_to_json("a: 1\n---\nb: 2").has_value());
    CHECK_FALSE(config::yaml_to_json("? [a]\n: b").has_value());
}

TEST_CASE("mutated documents are read or refused, and nothing else") {
    const std::string seeds[] = {
        litellm, "key,notes\nsk-aaaaaaaa,\"x,y\"\n", R"(["sk-dddddddd",{"key":"sk-eeeeeeee"}])",
        R"({"poolGroups":[{"id":"g","priority":1}],"keys":[{"key":"sk-ffffffff","poolGroup":"g"}]})",
        R"([{"name":"a","apiKey":"team-key-0001","tokenLimit":5,"rateLimitWindow":2,"isActive":true}])"};
    constexpr std::string_view alphabet = "{}[]\",:;\n\t -#&*!|>%@`'\\0159aekn\xff";
    std::mt19937 random(1);
    const auto below = [&](std::size_t n) {
        return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
    };
    reader r;
    std::size_t taken = 0;
    for (int round = 0; round < 3'000; ++round) {
        std::string text = seeds[below(std::size(seeds))];
        for (auto edits = 1 + below(6); edits > 0 && !text.empty(); --edits) {
            const auto at = below(text.size());
            switch (below(4)) {
                case 0:
                    text[at] = alphabet[below(alphabet.size())];
                    break;
                case 1:
                    text.insert(at, 1, alphabet[below(alphabet.size())]);
                    break;
                case 2:
                    text.erase(at, 1 + below(8));
                    break;
                default:
                    text.insert(at, text.substr(below(text.size()), 1 + below(40)));
                    break;
            }
        }
        const auto got = r.try_read(text);
        if (!got) {
            CHECK(got.error().code == errc::invalid_argument);
            continue;
        }
        ++taken;
        for (const auto& item : got->records.items)
            CHECK((!item.id.empty() || item.kind == "group"));
    }
    CHECK(taken > 500);
}
