// Readers of price files. Numbers are taken as decimal text, never as binary floating point.
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <set>

#include "usage/price_table.hpp"

namespace kw::usage {
namespace {

namespace od = simdjson::ondemand;

struct rate_name {
    std::string_view own;
    std::string_view litellm;
    std::int64_t rates::* member;
};

constexpr std::array rate_names{
    rate_name{"input", "input_cost_per_token", &rates::input},
    rate_name{"output", "output_cost_per_token", &rates::output},
    rate_name{"cached_read", "cache_read_input_token_cost", &rates::cached_read},
    rate_name{"cache_write_5m", "cache_creation_input_token_cost", &rates::cache_write_5m},
    rate_name{"cache_write_1h", "cache_creation_input_token_cost_above_1hr",
              &rates::cache_write_1h},
    rate_name{"reasoning", "output_cost_per_reasoning_token", &rates::reasoning},
    rate_name{"audio_in", "input_cost_per_audio_token", &rates::audio_in},
    rate_name{"audio_out", "output_cost_per_audio_token", &rates::audio_out},
    rate_name{"image_in", "input_cost_per_image_token", &rates::image_in},
    rate_name{"image_out", "output_cost_per_image_token", &rates::image_out},
};

struct unit_name {
    std::string_view own;
    std::string_view litellm;
    std::int64_t model_price::* member;
};

constexpr std::array unit_names{
    unit_name{"per_request", "input_cost_per_request", &model_price::per_request},
    unit_name{"per_image", "output_cost_per_image", &model_price::per_image},
    unit_name{"per_second", "input_cost_per_second", &model_price::per_second},
    unit_name{"per_character", "input_cost_per_character", &model_price::per_character},
    unit_name{"per_search", "", &model_price::per_search},
    unit_name{"training", "", &model_price::training},
};

// Dollars to nano-dollars, and from "per token" to "per million tokens".
constexpr int to_nano = 9;
constexpr int per_token_to_nano_per_million = 15;

// Leaves a reader at the first fault; caught where the import begins.
struct refused {
    std::string what;
};

[[noreturn]] void refuse(std::string_view model, std::string_view name, std::string_view why) {
    std::string what;
    if (!model.empty()) what += "model \"" + std::string(model) + "\": ";
    what += "\"" + std::string(name) + "\" " + std::string(why);
    throw refused{std::move(what)};
}

std::string_view trim_token(std::string_view token) noexcept {
    while (!token.empty() && static_cast<unsigned char>(token.back()) <= ' ')
        token.remove_suffix(1);
    return token;
}

// The text of a number, or of a string that holds one.
std::string number_text(od::value v) {
    if (v.type() == od::json_type::string) return std::string(std::string_view(v.get_string()));
    const std::string text(trim_token(v.raw_json_token()));
    return text;
}

std::int64_t own_price(std::string_view model, std::string_view name, od::value v) {
    const od::json_type type = v.type();
    if (type != od::json_type::string && type != od::json_type::number)
        refuse(model, name, "must be a price");
    const bool is_number = type == od::json_type::number;
    const std::string text = number_text(v);
    if (is_number) v.get_double().value();  // checks the spelling and moves on
    const auto price = parse_scaled_decimal(text, to_nano, true);
    if (!price) refuse(model, name, "must be a price in dollars with at most 9 decimals");
    return *price;
}

std::string own_text(std::string_view model, std::string_view name, od::value v) {
    if (v.type() != od::json_type::string) refuse(model, name, "must be text");
    return std::string(std::string_view(v.get_string()));
}

bool set_rate(rates& r, std::string_view model, std::string_view name, od::value v) {
    for (const rate_name& n : rate_names) {
        if (n.own != name) continue;
        r.*n.member = own_price(model, name, v);
        return true;
    }
    return false;
}

// Calls each(name, value) for every member; a name that comes twice is refused.
template <class Each>
void members(std::string_view model, od::object object, Each&& each) {
    std::set<std::string, std::less<>> seen;
    for (auto f : object) {
        const std::string name(std::string_view(f.unescaped_key()));
        if (!seen.insert(name).second) refuse(model, name, "comes twice");
        each(name, f.value().value());
    }
}

tier_price own_tier(std::string_view model, od::object object) {
    tier_price t;
    rates own;
    bool has_factor = false;
    members(model, object, [&](std::string_view name, od::value v) {
        if (name == "factor") {
            const bool is_number = v.type() == od::json_type::number;
            const auto ppm = parse_scaled_decimal(number_text(v), 6, true);
            if (is_number) v.get_double().value();
            if (!ppm || *ppm > 1'000'000'000)
                refuse(model, name, "must be a number with at most 6 decimals");
            t.factor_ppm = *ppm;
            has_factor = true;
        } else if (!set_rate(own, model, name, v)) {
            refuse(model, name, "is not known in a tier");
        }
    });
    if (own != rates()) {
        if (has_factor) refuse(model, "factor", "stands beside prices of its own");
        t.own = own;
    }
    return t;
}

imported_prices::entry own_model(std::string_view model, od::object object) {
    imported_prices::entry e;
    model_price& p = e.price;
    e.names.emplace_back(model);
    members(model, object, [&](std::string_view name, od::value v) {
        if (set_rate(p.base, model, name, v)) return;
        for (const unit_name& n : unit_names) {
            if (n.own != name) continue;
            p.*n.member = own_price(model, name, v);
            return;
        }
        if (name == "batch") {
            p.batch = own_tier(model, v.get_object());
        } else if (name == "flex") {
            p.flex = own_tier(model, v.get_object());
        } else if (name == "priority") {
            p.priority = own_tier(model, v.get_object());
        } else if (name == "long_context") {
            members(model, v.get_object(), [&](std::string_view part, od::value w) {
                if (part == "above") {
                    p.long_threshold = w.get_int64();
                    if (p.long_threshold <= 0) refuse(model, part, "must be above 0");
                } else if (!set_rate(p.long_context, model, part, w)) {
                    refuse(model, part, "is not known in long_context");
                }
            });
            if (p.long_threshold == 0) refuse(model, name, "needs \"above\"");
        } else if (name == "aliases") {
            for (auto alias : v.get_array())
                e.names.emplace_back(std::string_view(alias.get_string()));
        } else if (name == "source") {
            p.source = own_text(model, name, v);
        } else if (name == "as_of") {
            p.as_of = own_text(model, name, v);
        } else {
            refuse(model, name, "is not known");
        }
    });
    return e;
}

template <class Read>
result<imported_prices> import(std::string_view json, Read&& read) {
    try {
        const simdjson::padded_string text(json);
        od::parser parser;
        od::document document = parser.iterate(text);
        imported_prices out;
        read(document.get_object(), out);
        if (document.current_location().error() != simdjson::OUT_OF_BOUNDS)
            return error(errc::invalid_json, "the price file goes on after its JSON object");
        return out;
    } catch (const refused& r) {
        return error(errc::invalid_argument, "price file: " + r.what);
    } catch (const simdjson::simdjson_error& e) {
        return error(errc::invalid_json, std::string("price file: ") + e.what());
    }
}

// LiteLLM's variants of a price are the price's name and one of these.
struct variant {
    std::string_view suffix;
    std::int64_t long_threshold;
    std::optional<tier_price> model_price::* tier;
};

constexpr std::array variants{
    variant{"_above_128k_tokens", 128'000, nullptr},
    variant{"_above_200k_tokens", 200'000, nullptr},
    variant{"_above_272k_tokens", 272'000, nullptr},
    variant{"_batches", 0, &model_price::batch},
    variant{"_flex", 0, &model_price::flex},
    variant{"_priority", 0, &model_price::priority},
};

bool litellm_rate(rates& r, std::string_view name, std::string_view number) {
    for (const rate_name& n : rate_names) {
        if (n.litellm != name) continue;
        const auto price = parse_scaled_decimal(number, per_token_to_nano_per_million, false);
        if (price) r.*n.member = *price;
        return price.has_value();
    }
    return false;
}

// Where a variant names no price of its own for a class, the standard one holds.
void fill(rates& r, const rates& base) {
    for (const rate_name& n : rate_names)
        if (r.*n.member < 0) r.*n.member = base.*n.member;
}

std::optional<model_price> litellm_model(od::object object) {
    model_price p;
    bool any = false;
    for (auto f : object) {
        const std::string_view name = f.unescaped_key();
        od::value v = f.value();
        if (name == "source" && v.type() == od::json_type::string) {
            p.source = std::string_view(v.get_string());
            continue;
        }
        if (name.find("cost") == std::string_view::npos || v.type() != od::json_type::number)
            continue;
        const std::string number(trim_token(v.raw_json_token()));
        if (litellm_rate(p.base, name, number)) {
            any = true;
            continue;
        }
        for (const unit_name& n : unit_names) {
            if (n.litellm != name) continue;
            if (const auto price = parse_scaled_decimal(number, to_nano, false)) {
                p.*n.member = *price;
                any = true;
            }
        }
        for (const variant& x : variants) {
            if (!name.ends_with(x.suffix)) continue;
            const std::string_view base = name.substr(0, name.size() - x.suffix.size());
            rates r;
            if (!litellm_rate(r, base, number)) continue;
            if (x.tier == nullptr) {
                p.long_threshold = x.long_threshold;
                litellm_rate(p.long_context, base, number);
            } else {
                std::optional<tier_price>& tier = p.*x.tier;
                if (!tier) tier.emplace().own.emplace();
                litellm_rate(*tier->own, base, number);
            }
        }
    }
    if (!any) return std::nullopt;
    fill(p.long_context, p.base);
    for (const auto tier : {&model_price::batch, &model_price::flex, &model_price::priority})
        if (p.*tier) fill(*(p.*tier)->own, p.base);
    return p;
}

}  // namespace

result<imported_prices> import_own(std::string_view json) {
    return import(json, [](od::object root, imported_prices& out) {
        std::string source;
        std::string as_of;
        bool known_format = false;
        members({}, root, [&](std::string_view name, od::value v) {
            if (name == "format") {
                known_format = own_text({}, name, v) == "keywheel-prices-1";
            } else if (name == "source") {
                source = own_text({}, name, v);
            } else if (name == "as_of") {
                as_of = own_text({}, name, v);
            } else if (name == "models") {
                members({}, v.get_object(), [&](std::string_view model, od::value w) {
                    out.models.push_back(own_model(model, w.get_object()));
                });
            } else if (name == "default") {
                out.fallback = own_model("default", v.get_object()).price;
            } else {
                refuse({}, name, "is not known");
            }
        });
        if (!known_format) refuse({}, "format", "must be \"keywheel-prices-1\"");
        for (imported_prices::entry& e : out.models) {
            if (e.price.source.empty()) e.price.source = source;
            if (e.price.as_of.empty()) e.price.as_of = as_of;
        }
        std::set<std::string_view> names;
        for (const imported_prices::entry& e : out.models)
            for (const std::string& name : e.names)
                if (!names.insert(name).second) refuse(e.names.front(), name, "is named twice");
    });
}

result<imported_prices> import_litellm(std::string_view json) {
    return import(json, [](od::object root, imported_prices& out) {
        for (auto f : root) {
            const std::string name(std::string_view(f.unescaped_key()));
            od::value v = f.value();
            if (name == "sample_spec" || v.type() != od::json_type::object) continue;
            if (auto price = litellm_model(v.get_object()))
                out.models.push_back({{name}, std::move(*price)});
        }
    });
}

}  // namespace kw::usage
