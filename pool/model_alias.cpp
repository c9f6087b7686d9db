// Aliases and their fallbacks.
#include "pool/model_alias.hpp"

namespace kw::pool {

result<model_route> parse_route(std::string_view text) {
    const auto at = text.rfind('@');
    model_route r{std::string(text.substr(0, at)),
                  at == std::string_view::npos ? std::string() : std::string(text.substr(at + 1))};
    if (r.model.empty() || (at != std::string_view::npos && r.group.empty())) {
        return error(errc::invalid_argument,
                     "a model route is \"model\" or \"model@group\", both parts not empty");
    }
    return r;
}

std::optional<fallback_cause> cause_of(const upstream_result& r, const verdict& v) {
    if (v.success || !v.fallback) return std::nullopt;
    if (r.code == "context_length_exceeded" || r.type == "context_length_exceeded") {
        return fallback_cause::context_length;
    }
    if (v.fault == fault_class::model) return fallback_cause::model_missing;
    if (r.transport == transport_failure::first_token_timeout) return fallback_cause::first_token;
    return fallback_cause::unavailable;
}

result<void> alias_table::add(model_alias alias) {
    if (alias.name.empty()) return error(errc::invalid_argument, "a model alias needs a name");
    if (aliases_.contains(alias.name)) {
        return error(errc::invalid_argument, "model alias \"" + alias.name + "\" is there twice");
    }
    // One step only: an alias of an alias could go in circles. Its own name as the target is the
    // common way to give a real model fallbacks.
    for (const auto& [name, other] : aliases_) {
        const bool to_other =
            alias.target.model == name && alias.target.model != other.target.model;
        const bool from_other =
            other.target.model == alias.name && alias.target.model != alias.name;
        if (to_other || from_other) {
            return error(errc::invalid_argument,
                         "model alias \"" + alias.name + "\" and \"" + name + "\" form a chain");
        }
    }
    aliases_.emplace(alias.name, std::move(alias));
    return {};
}

const model_alias* alias_table::find(std::string_view name) const {
    const auto at = aliases_.find(name);
    return at == aliases_.end() ? nullptr : &at->second;
}

model_route alias_table::resolve(std::string_view name) const {
    const model_alias* a = find(name);
    return a == nullptr ? model_route{std::string(name), {}} : a->target;
}

const model_route* alias_table::next(std::string_view name, fallback_cause cause,
                                     std::size_t used) const {
    const model_alias* a = find(name);
    if (a == nullptr) return nullptr;
    const auto& list = cause == fallback_cause::context_length ? a->larger : a->fallbacks;
    if (cause != fallback_cause::context_length && !a->allows(cause)) return nullptr;
    return used < list.size() ? &list[used] : nullptr;
}

}  // namespace kw::pool
