// The common subset of LiteLLM's configuration: its deployments as groups and upstream keys. What
// is passed over is named.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/foreign.hpp"
#include "config/environment_names.hpp"
#include "config/yaml_json.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

struct vendor {
    std::string_view prefix;
    std::string_view provider;
    std::string_view base_url;
};
constexpr vendor vendors[] = {
    {"openai", "openai", "https://api.openai.com/v1"},
    {"anthropic", "anthropic", "https://api.anthropic.com/v1"},
    {"gemini", "google", "https://generativelanguage.googleapis.com/v1beta/openai"},
    {"groq", "openai-compatible", "https://api.groq.com/openai/v1"},
    {"deepseek", "openai-compatible", "https://api.deepseek.com/v1"},
    {"mistral", "openai-compatible", "https://api.mistral.ai/v1"},
    {"openrouter", "openai-compatible", "https://openrouter.ai/api/v1"},
    {"together_ai", "openai-compatible", "https://api.together.xyz/v1"},
    {"xai", "openai-compatible", "https://api.x.ai/v1"},
    {"hosted_vllm", "openai-compatible", ""},
    {"text-completion-openai", "openai", "https://api.openai.com/v1"},
};

struct deployment {
    foreign_group group;
    std::string model;
    foreign_key key;
};

// One group for each provider and address; their keys with the models that they are listed for.
struct collected {
    std::vector<foreign_group> groups;
    std::vector<std::pair<foreign_key, int>> keys;  // and in how many deployments
};

std::string group_id(const vendor& v, const std::string& base_url) {
    std::string id = "litellm-" + std::string(v.prefix);
    if (base_url == v.base_url) return id;
    // "https://llm.example.com:8000/v1" as "llm.example.com-8000-v1"
    const auto scheme = base_url.find("://");
    id += '-';
    for (const char c : base_url.substr(scheme == std::string::npos ? 0 : scheme + 3)) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '.' || c == '-';
        if (plain || id.back() != '-') id += plain ? c : '-';
    }
    while (id.ends_with('-'))
        id.pop_back();
    return id.substr(0, 64);
}

// Follows "os.environ/NAME"; none: it leads nowhere, which is noted.
std::optional<std::string> resolved(const std::string& text, const std::string& where,
                                    foreign_reader& out) {
    constexpr std::string_view reference = "os.environ/";
    if (!text.starts_with(reference)) return text;
    const auto name = text.substr(reference.size());
    // What configures keywheel itself must not leave it for an upstream.
    if (config::is_setting_variable(name)) {
        out.ignore(where + ": refers to a variable that configures keywheel");
        return std::nullopt;
    }
    auto value = out.make().variable(name);
    if (!value) out.ignore(where + ": refers to a variable that is not set here");
    return value;
}

constexpr std::string_view read_params[] = {"model", "api_key", "api_base", "base_url",
                                            "rpm",   "tpm",     "weight",   "custom_llm_provider"};

std::optional<deployment> read_deployment(const json::object& entry, const std::string& where,
                                          foreign_reader& out) {
    const auto* params = entry.if_contains("litellm_params");
    if (params == nullptr || !params->is_object()) {
        out.ignore(where + ": has no litellm_params");
        return std::nullopt;
    }
    const auto& object = params->get_object();
    const auto text = [&](std::string_view name) {
        const auto* v = object.if_contains(name);
        return v == nullptr ? std::string() : trimmed(scalar(*v));
    };
    for (const auto& item : object) {
        const std::string_view name(item.key().data(), item.key().size());
        if (std::ranges::find(read_params, name) == std::end(read_params))
            out.ignore(where + ".litellm_params." + std::string(name.substr(0, 64)));
    }
    deployment d;
    d.model = text("model");
    auto prefix = text("custom_llm_provider");
    if (const auto slash = d.model.find('/'); prefix.empty() && slash != std::string::npos) {
        prefix = d.model.substr(0, slash);
        d.model.erase(0, slash + 1);
    }
    if (prefix.empty())
        prefix = d.model.starts_with("claude")   ? "anthropic"
                 : d.model.starts_with("gemini") ? "gemini"
                                                 : "openai";
    const auto* known = std::ranges::find(vendors, prefix, &vendor::prefix);
    if (known == std::end(vendors) || d.model.empty()) {
        out.ignore(where +
                   (d.model.empty() ? ": has no model" : ": of a provider that is not read"));
        return std::nullopt;
    }
    auto base = text("api_base");
    if (base.empty()) base = text("base_url");
    if (!base.empty()) {
        auto followed = resolved(base, where + ".litellm_params.api_base", out);
        if (!followed) return std::nullopt;
        base = std::move(*followed);
    }
    while (base.ends_with('/'))
        base.pop_back();
    if (base.empty()) base = known->base_url;
    if (base.empty()) {
        out.ignore(where + ": has no api_base");
        return std::nullopt;
    }
    d.group = {.id = group_id(*known, base),
               .name = {},
               .priority = {},
               .provider = std::string(known->provider),
               .base_url = base,
               .models = {d.model}};
    const auto value = resolved(text("api_key"), where + ".litellm_params.api_key", out);
    if (!value) return std::nullopt;
    if (value->empty()) {
        out.ignore(where + ": has no api_key");
        return std::nullopt;
    }
    d.key.value = secret(*value);
    d.key.group = d.group.id;
    d.key.models = {d.model};
    d.key.weight = text("weight");
    d.key.rpm = text("rpm");
    d.key.tpm = text("tpm");
    const auto* name = entry.if_contains("model_name");
    if (name != nullptr && scalar(*name) != d.model)
        out.ignore(where + ".model_name: is another than its model; declare an alias for it");
    return d;
}

void add_once(std::vector<std::string>& to, const std::string& text) {
    if (std::ranges::find(to, text) == to.end()) to.push_back(text);
}

void take(collected& all, deployment d) {
    auto group = std::ranges::find(all.groups, d.group.id, &foreign_group::id);
    if (group == all.groups.end())
        all.groups.push_back(std::move(d.group));
    else
        add_once(group->models, d.model);
    const auto key = std::ranges::find_if(all.keys, [&](const auto& held) {
        return held.first.group == d.key.group && held.first.value == d.key.value;
    });
    if (key == all.keys.end()) {
        all.keys.emplace_back(std::move(d.key), 1);
        return;
    }
    add_once(key->first.models, d.model);
    ++key->second;
}

}  // namespace

result<void> read_litellm(const import_source& from, foreign_reader& out) {
    json::value read;
    if (from.json == nullptr) {
        auto parsed = config::yaml_to_json(std::string(from.text));
        if (!parsed) return refused_document(parsed.error().context);
        read = std::move(*parsed);
    }
    const json::value& root = from.json == nullptr ? read : *from.json;
    const auto* object = root.if_object();
    const auto* list = object == nullptr ? nullptr : object->if_contains("model_list");
    if (list == nullptr || !list->is_array()) return refused_document("it has no model_list");
    constexpr std::size_t most = 10'000;  // each is compared with those before it
    if (list->get_array().size() > most)
        return refused_document("its model_list has more than 10,000 entries");
    for (const auto& item : *object) {
        const std::string_view name(item.key().data(), item.key().size());
        if (name != "model_list") out.ignore(name.substr(0, 64));
    }
    collected all;
    for (std::size_t i = 0; i < list->get_array().size(); ++i) {
        const auto where = "model_list[" + std::to_string(i) + "]";
        const auto* entry = list->get_array()[i].if_object();
        if (entry == nullptr) {
            out.ignore(where + ": is not a map");
            continue;
        }
        if (auto d = read_deployment(*entry, where, out)) take(all, std::move(*d));
    }
    for (auto& group : all.groups) {
        if (const auto ok = out.add_group(std::move(group)); !ok) return ok;
    }
    for (auto& [key, deployments] : all.keys) {
        if (deployments > 1 && !(key.rpm + key.tpm + key.weight).empty()) {
            out.ignore("rpm, tpm and weight of a key with several models");
            key.rpm = key.tpm = key.weight = {};
        }
        if (const auto ok = out.add_key(std::move(key)); !ok) return ok;
    }
    return {};
}

}  // namespace kw::admin
