// Settings from environment variables: our own names, the names in common use, and what
// Kubernetes puts there.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "config/environment_names.hpp"
#include "config/loading.hpp"

namespace kw::config {

namespace {

constexpr std::string_view own_prefix = "KEYWHEEL_";
// Read by the program itself, not a setting.
constexpr std::string_view config_variable = "KEYWHEEL_CONFIG";

[[nodiscard]] bool all_digits(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

[[nodiscard]] bool is_url(std::string_view text) {
    return text.find("://") != std::string_view::npos;
}

// Calls each(name, unit) for a field's other names, until it returns true.
template <class Each>
void for_aliases(const field& f, Each each) {
    std::string_view rest = f.aliases;
    while (!rest.empty()) {
        const auto end = std::min(rest.find(' '), rest.size());
        const auto one = rest.substr(0, end);
        const auto colon = std::min(one.find(':'), one.size());
        if (each(one.substr(0, colon), one.substr(std::min(colon + 1, one.size())))) return;
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
}

void apply(loading& l, const field& f, slot into, const std::string& key, std::string_view name,
           std::string text) {
    const origin from{.file = {}, .line = 0, .variable = std::string(name)};
    if (auto bad = parse_value(f, into, text, l.secrets)) {
        l.report(from, key, *std::move(bad));
    } else {
        l.set_origin(key, from);
    }
}

void apply_field(loading& l, const section& s, const field& f) {
    const auto into = f.at(s.at(&l.result.values));
    const std::string key = fmt::format("{}.{}", s.name, f.name);
    const std::string own = variable_name(s.name, f.name);
    if (const auto* text = l.variable(own); text != nullptr && !is_service_link(own, *text)) {
        apply(l, f, into, key, own, *text);
        return;
    }
    for_aliases(f, [&](std::string_view name, std::string_view unit) {
        const auto* text = l.variable(name);
        if (text == nullptr) return false;
        apply(l, f, into, key, name, all_digits(*text) ? *text + std::string(unit) : *text);
        return true;
    });
}

void apply_cluster_mode(loading& l) {
    const auto* text = l.variable("CLUSTER_MODE");
    if (text == nullptr || l.variable(variable_name("server", "workers")) != nullptr) return;
    bool clustered = true;
    const field as_bool{.name = "workers", .at = nullptr, .help = {}};
    const origin from{.file = {}, .line = 0, .variable = "CLUSTER_MODE"};
    if (auto bad = parse_value(as_bool, &clustered, *text, l.secrets)) {
        l.report(from, "server.workers", *std::move(bad));
    } else if (!clustered) {
        l.result.values.server.workers = 1;
        l.set_origin("server.workers", from);
    }
}

[[nodiscard]] std::string percent_encoded(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.') {
            out += c;
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

// REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, REDIS_DB: a URL of their parts.
void apply_redis_parts(loading& l) {
    const std::string key = "store.redis_url";
    if (!l.where(key).variable.empty()) return;  // REDIS_URL says it all
    const auto* host = l.variable("REDIS_HOST");
    const auto* port = l.variable("REDIS_PORT");
    const auto* password = l.variable("REDIS_PASSWORD");
    const auto* db = l.variable("REDIS_DB");
    auto& url = l.result.values.store.redis_url;
    if (host == nullptr && !url.empty()) return;  // the file's; a stray REDIS_PORT is not for us
    const auto refuse = [&](const char* name, fault what) {
        l.report(origin{.file = {}, .line = 0, .variable = name}, key, std::move(what));
    };
    if (port != nullptr && is_url(*port)) {
        refuse("REDIS_PORT", {"is a URL, as Kubernetes makes it for a Service named redis",
                              "set REDIS_PORT to the number (6379) or use REDIS_URL; "
                              "enableServiceLinks: false in the pod keeps such variables out"});
        return;
    }
    if (host == nullptr) {
        if (port != nullptr || password != nullptr || db != nullptr) {
            l.result.warnings.emplace_back(
                "REDIS_PORT, REDIS_PASSWORD and REDIS_DB are not used without REDIS_HOST");
        }
        return;
    }
    if (port != nullptr && (!all_digits(*port) || port->size() > 5)) {
        refuse("REDIS_PORT", {"is not a port", "write a number as 6379"});
        return;
    }
    if (db != nullptr && (!all_digits(*db) || db->size() > 5)) {
        refuse("REDIS_DB", {"is not a database number", "write a number as 0"});
        return;
    }
    std::string text = "redis://";
    if (password != nullptr) {
        secret opened;
        if (auto bad = l.secrets.resolve(*password, opened)) {
            refuse("REDIS_PASSWORD", *std::move(bad));
            return;
        }
        text += ":" + percent_encoded(opened.reveal()) + "@";
    }
    const bool v6 = host->find(':') != std::string::npos && !host->starts_with('[');
    text += v6 ? "[" + *host + "]" : *host;
    text += ":" + (port != nullptr ? *port : "6379");
    if (db != nullptr) text += "/" + *db;
    url = secret(std::move(text));
    l.set_origin(key, origin{.file = {}, .line = 0, .variable = "REDIS_HOST"});
}

struct provider {
    std::string_view id;
    std::string_view name;
    std::string_view key_variable;
    std::string_view url_variable;
    std::string_view base_url;
    std::string_view models;  // by commas; what it serves beside other providers
};

constexpr std::array<provider, 3> providers = {{
    {"openai", "OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1",
     "gpt*,chatgpt*,o*,text-*,tts-*,whisper-*,dall-e-*,sora*,computer-use*,codex*,davinci*,"
     "babbage*,ft:*"},
    {"anthropic", "Anthropic", "ANTHROPIC_API_KEY", "", "https://api.anthropic.com/v1", "claude*"},
    {"google", "Google", "GOOGLE_API_KEY", "",
     "https://generativelanguage.googleapis.com/v1beta/openai", "gemini*,gemma*,models/*"},
}};

}  // namespace

void apply_variables(loading& l) {
    for (const auto& s : sections()) {
        for (const auto& f : s.fields)
            apply_field(l, s, f);
    }
    apply_cluster_mode(l);
    apply_redis_parts(l);
}

// Only where no groups are declared: with a file that declares them, a variable is there to be
// referred to, and making a second group of it would use its keys twice.
void add_provider_groups(loading& l) {
    std::vector<const provider*> present;
    for (const auto& p : providers) {
        if (l.variable(p.key_variable) != nullptr ||
            (!p.url_variable.empty() && l.variable(p.url_variable) != nullptr)) {
            present.push_back(&p);
        }
    }
    if (!l.result.values.groups.empty()) {
        for (const auto* p : present) {
            l.result.warnings.push_back(fmt::format(
                "{} makes no group of its own, since groups are declared; refer to it in a group's "
                "keys as env:{}",
                p->key_variable, p->key_variable));
        }
        return;
    }
    const list& groups = lists()[0];
    const auto set = [&](void* group, std::string_view name, std::string_view variable,
                         std::string_view text) {
        for (const auto& f : groups.fields) {
            if (f.name != name) continue;
            if (auto bad = parse_value(f, f.at(group), text, l.secrets)) {
                l.report(origin{.file = {}, .line = 0, .variable = std::string(variable)},
                         fmt::format("groups.{}", name), *std::move(bad));
            }
        }
    };
    for (const auto* p : present) {
        void* group = groups.append(l.result.values);
        set(group, "id", "", p->id);
        set(group, "name", "", p->name);
        set(group, "provider", "", p->id);
        const auto* url = p->url_variable.empty() ? nullptr : l.variable(p->url_variable);
        set(group, "base_url", p->url_variable, url != nullptr ? *url : std::string(p->base_url));
        const auto* keys = l.variable(p->key_variable);
        if (keys != nullptr) set(group, "keys", p->key_variable, *keys);
        if (present.size() > 1) set(group, "models", "", p->models);
        l.set_origin(fmt::format("groups.{}", p->id),
                     origin{.file = {},
                            .line = 0,
                            .variable = std::string(keys ? p->key_variable : p->url_variable)});
    }
}

void check_variable_names(loading& l) {
    std::vector<std::string> known = {std::string(config_variable)};
    std::vector<std::string> pool_names;
    for (const auto& s : sections()) {
        for (const auto& f : s.fields) {
            known.push_back(variable_name(s.name, f.name));
            for_aliases(f, [&](std::string_view name, std::string_view) {
                if (name.starts_with("KEY_POOL_")) pool_names.emplace_back(name);
                return false;
            });
        }
    }
    for (const auto& one : lists())
        known.push_back(variable_name(one.name));

    for (const auto& [name, value] : l.env) {
        if (name.starts_with("KEY_POOL_") &&
            std::find(pool_names.begin(), pool_names.end(), name) == pool_names.end()) {
            l.result.warnings.push_back(
                fmt::format("{} is not known and not used; {}", name,
                            suggestion(name, pool_names, "see docs/configuration.md")));
        }
        if (!name.starts_with(own_prefix) || is_service_link(name, value) ||
            std::find(known.begin(), known.end(), name) != known.end()) {
            continue;
        }
        l.report(origin{.file = {}, .line = 0, .variable = name}, name,
                 {"is not a known variable",
                  suggestion(name, known, "remove it; docs/configuration.md lists them all")});
    }
}

bool is_setting_variable(std::string_view name) {
    if (name.starts_with(own_prefix) || name == "REDIS_PASSWORD" || name == "REDIS_HOST")
        return true;
    for (const auto& s : sections()) {
        for (const auto& f : s.fields) {
            bool found = false;
            for_aliases(f, [&](std::string_view other, std::string_view) {
                found = other == name;
                return found;
            });
            if (found) return true;
        }
    }
    return false;
}

bool is_service_link(std::string_view name, std::string_view value) noexcept {
    if (!name.starts_with(own_prefix)) return false;
    // KEYWHEEL_SERVICE_HOST, KEYWHEEL_SERVICE_PORT, KEYWHEEL_SERVICE_PORT_HTTP, and the same for
    // a Service named keywheel-something.
    if (name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") ||
        name.find("_SERVICE_PORT_") != std::string_view::npos) {
        return true;
    }
    // KEYWHEEL_PORT=tcp://10.0.0.1:8080
    const bool transport =
        value.starts_with("tcp://") || value.starts_with("udp://") || value.starts_with("sctp://");
    if (name.ends_with("_PORT") && transport) return true;
    // KEYWHEEL_PORT_8080_TCP, …_TCP_PROTO, …_TCP_PORT, …_TCP_ADDR
    for (const std::string_view suffix : {"_PROTO", "_PORT", "_ADDR"}) {
        if (name.ends_with(suffix)) {
            name.remove_suffix(suffix.size());
            break;
        }
    }
    for (const std::string_view protocol : {"_TCP", "_UDP", "_SCTP"}) {
        if (!name.ends_with(protocol)) continue;
        name.remove_suffix(protocol.size());
        const auto digits = name.find_last_not_of("0123456789");
        return digits + 1 < name.size() && name.substr(0, digits + 1).ends_with("_PORT_");
    }
    return false;
}

std::string suggestion(std::string_view wrong, const std::vector<std::string>& candidates,
                       std::string_view otherwise) {
    // Levenshtein's distance, one row at a time; names are short, yet a hostile one is cut off.
    constexpr std::size_t longest = 64;
    wrong = wrong.substr(0, longest);
    std::size_t best = std::max<std::size_t>(wrong.size() / 3 + 1, 3);
    const std::string* nearest = nullptr;
    std::vector<std::size_t> row;
    for (const auto& candidate : candidates) {
        row.resize(candidate.size() + 1);
        for (std::size_t j = 0; j < row.size(); ++j)
            row[j] = j;
        for (std::size_t i = 0; i < wrong.size(); ++i) {
            std::size_t diagonal = row[0];
            row[0] = i + 1;
            for (std::size_t j = 0; j < candidate.size(); ++j) {
                const std::size_t changed = diagonal + (wrong[i] == candidate[j] ? 0 : 1);
                diagonal = row[j + 1];
                row[j + 1] = std::min({changed, diagonal + 1, row[j] + 1});
            }
        }
        if (row.back() < best) {
            best = row.back();
            nearest = &candidate;
        }
    }
    return nearest != nullptr ? "did you mean " + *nearest + "?" : std::string(otherwise);
}

}  // namespace kw::config
