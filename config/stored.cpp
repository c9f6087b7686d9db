// The stage of loading that takes what the admin API has stored, and the record's JSON.
#include "config/stored.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "config/loading.hpp"
#include "core/json_writer.hpp"

namespace kw::config {

namespace {

namespace json = boost::json;

struct place {
    const section* in = nullptr;
    const field* of = nullptr;
};

[[nodiscard]] place find(std::string_view key) {
    for (const auto& s : sections()) {
        if (!key.starts_with(s.name) || key.size() <= s.name.size() || key[s.name.size()] != '.')
            continue;
        for (const auto& f : s.fields) {
            if (key.substr(s.name.size() + 1) == f.name) return {&s, &f};
        }
    }
    return {};
}

[[nodiscard]] bool is_secret(const slot& s) noexcept {
    return std::holds_alternative<secret*>(s) || std::holds_alternative<std::vector<secret>*>(s);
}

[[nodiscard]] std::string_view why_locked(const place& p) {
    settings defaults;
    if (is_secret(p.of->at(p.in->at(&defaults))))
        return "is a secret: set it in the file or the environment";
    if (p.of->early)
        return "is needed before the store can be read: set it in the file or the environment";
    return {};
}

[[nodiscard]] std::vector<std::string> all_keys() {
    std::vector<std::string> out;
    for (const auto& s : sections()) {
        for (const auto& f : s.fields)
            out.push_back(fmt::format("{}.{}", s.name, f.name));
    }
    return out;
}

[[nodiscard]] verdict set(const field& f, const slot& into, const std::vector<std::string>& texts,
                          secret_resolver& secrets) {
    if (texts.size() == 1) return parse_value(f, into, texts.front(), secrets);
    if (!is_list(into)) return fault{"is not a single value", "write one"};
    clear_list(into);
    for (const auto& text : texts) {
        if (auto bad = append_value(f, into, text, secrets)) return bad;
    }
    return std::nullopt;
}

[[nodiscard]] std::string warning(const problem& p) {
    return fmt::format("the stored setting {} is left out: it {}", p.key, p.reason);
}

}  // namespace

void apply_stored(loading& l) {
    for (const auto& [key, texts] : l.stored) {
        const origin from{.file = {}, .line = 0, .variable = {}, .stored = true};
        const place at = find(key);
        if (at.of == nullptr) {
            l.report(from, key,
                     {"is not a known setting", suggestion(key, all_keys(), "remove it")});
        } else if (const auto why = why_locked(at); !why.empty()) {
            l.report(from, key, {std::string(why), "it cannot be set here"});
        } else if (auto bad =
                       set(*at.of, at.of->at(at.in->at(&l.result.values)), texts, l.secrets)) {
            l.report(from, key, *std::move(bad));
        } else {
            l.set_origin(key, from);
        }
    }
}

load_result load_over(const std::string& file, const environment& env, const known_names& known,
                      stored_settings stored) {
    std::vector<std::string> warnings;
    std::vector<std::string> left_out;
    const auto drop = [&](const std::string& key, std::string why) {
        stored.erase(key);
        left_out.push_back(key);
        warnings.push_back(std::move(why));
    };
    const auto finish = [&](loaded&& got) -> load_result {
        got.warnings.insert(got.warnings.end(), warnings.begin(), warnings.end());
        got.left_out = std::move(left_out);
        return std::move(got);
    };
    for (;;) {
        auto got = load(file, env, known, stored);
        if (got) return finish(std::move(*got));
        if (stored.empty()) return got;
        const auto before = stored.size();
        const auto problems = got.error();
        for (const auto& p : problems.items) {
            if (stored.contains(p.key)) drop(p.key, warning(p));
        }
        if (stored.size() != before) continue;
        // The problem names another setting, which one of these contradicts; or it is not theirs.
        if (auto plain = load(file, env, known); !plain) return plain;
        const auto culprit = std::find_if(stored.begin(), stored.end(), [&](const auto& item) {
            auto others = stored;
            others.erase(item.first);
            return load(file, env, known, others).has_value();
        });
        const auto& why = problems.items.front();
        const std::string key = culprit == stored.end() ? stored.begin()->first : culprit->first;
        drop(key, fmt::format("the stored setting {} is left out: with it, {} {}", key, why.key,
                              why.reason));
    }
}

std::string_view why_not_stored(std::string_view key) {
    const place at = find(key);
    return at.of == nullptr ? "is not a known setting" : why_locked(at);
}

std::vector<setting_info> list_settings(const loaded& from) {
    std::vector<setting_info> out;
    settings values = from.values;  // slots point to what may be changed
    for (const auto& s : sections()) {
        for (const auto& f : s.fields) {
            const auto value = f.at(s.at(&values));
            std::string key = fmt::format("{}.{}", s.name, f.name);
            const auto origin = from.origins.find(key);
            out.push_back({.key = key,
                           .value = format_value(f, value),
                           .origin = origin == from.origins.end() ? config::origin{}.to_string()
                                                                  : origin->second.to_string(),
                           .type = type_name(f, value),
                           .help = std::string(f.help),
                           .needs_restart = !f.live,
                           .locked = std::string(why_locked({&s, &f}))});
        }
    }
    return out;
}

std::vector<std::string> value_texts(const settings& from, std::string_view key) {
    const place at = find(key);
    if (at.of == nullptr || !why_locked(at).empty()) return {};
    settings values = from;
    const auto value = at.of->at(at.in->at(&values));
    if (const auto* texts = std::get_if<std::vector<std::string>*>(&value)) return **texts;
    return {format_value(*at.of, value)};
}

std::string to_json(const settings_version& v) {
    std::string out;
    json_writer w(out);
    w.begin_object().field("version", v.number).field("at_ms", unix_ms(v.at));
    w.field("by", v.by).field("action", v.action).key("values").begin_object();
    for (const auto& [key, texts] : v.values) {
        w.key(key).begin_array();
        for (const auto& text : texts)
            w.value(text);
        w.end_array();
    }
    w.end_object().end_object();
    return out;
}

result<settings_version> version_from_json(std::string_view text) {
    const auto refused = [] {
        return error(errc::invalid_argument, "the record of the stored settings is malformed");
    };
    boost::system::error_code failed;
    const auto parsed = json::parse(text, failed);
    const auto* object = failed ? nullptr : parsed.if_object();
    if (object == nullptr) return refused();
    settings_version out;
    const auto* number = object->if_contains("version");
    const auto* values = object->if_contains("values");
    if (number == nullptr || !number->is_int64() || number->get_int64() < 0 || values == nullptr ||
        !values->is_object())
        return refused();
    out.number = static_cast<std::uint64_t>(number->get_int64());
    if (const auto* at = object->if_contains("at_ms"); at != nullptr && at->is_int64())
        out.at = wall_time(milliseconds(at->get_int64()));
    const auto take = [&](const char* name, std::string& into) {
        if (const auto* v = object->if_contains(name); v != nullptr && v->is_string())
            into.assign(v->get_string());
    };
    take("by", out.by);
    take("action", out.action);
    for (const auto& item : values->get_object()) {
        if (!item.value().is_array()) return refused();
        auto& texts = out.values[std::string(item.key())];
        for (const auto& one : item.value().get_array()) {
            if (!one.is_string()) return refused();
            texts.emplace_back(one.get_string());
        }
    }
    return out;
}

}  // namespace kw::config
