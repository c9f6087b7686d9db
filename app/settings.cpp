// Settings at run time: what the admin API has stored is laid over file and environment, at the
// start and whenever the change feed tells of it.
#include <algorithm>

#include "app/opening.hpp"
#include "app/runtime_impl.hpp"
#include "config/describe.hpp"
#include "config/stored.hpp"
#include "core/log.hpp"
#include "core/log_history.hpp"

namespace kw::app {
config::load_result load_with_store(const std::string& file, const config::environment& env,
                                    config::loaded plain) {
    const system_clock_source clock;
    const auto opened = open_existing(plain.values, clock);
    auto record = opened ? (*opened)->get(config::stored_kind, config::stored_id)
                         : result<store::record>(opened.error());
    if (!record && record.error().code == errc::store_not_found) return plain;
    auto version = record ? config::version_from_json(record->json)
                          : result<config::settings_version>(record.error());
    if (version) return load_configuration(file, env, version->values, true);
    plain.warnings.push_back("what the admin API has stored is not shown: " +
                             version.error().context);
    return plain;
}

pool::health_settings health_of(const config::pool_settings& s) {
    pool::health_settings h;
    h.threshold = s.error_threshold;
    h.window = s.error_window;
    h.longest_upstream_cooldown = s.error_cooldown_max;
    h.longest_overload_cooldown = s.overload_cooldown_max;
    h.longest_rate_limit_cooldown = s.rate_limit_cooldown_max;
    h.first_probe = s.quarantine_retest;
    h.first_retest = s.ban_retest;
    h.probe_timeout = s.probe_timeout * 2;
    h.pacing = s.pacing;
    return h;
}

// What the store holds; nothing where it holds nothing that this release can read.
config::stored_settings runtime::impl::stored_settings() const {
    const store::record* r = catalog_->find(config::stored_kind, config::stored_id);
    if (r == nullptr) return {};
    if (options_.ignore_stored_settings) {
        log::event(log::level::warn, "configuration.warning",
                   {{"text", "stored settings are ignored, as asked at the start"}});
        return {};
    }
    auto version = config::version_from_json(r->json);
    if (version) return std::move(version->values);
    log::event(log::level::warn, "configuration.warning",
               {{"text", "stored settings are left out: " + version.error().context}});
    return {};
}

// Whether the store's record is another than the one that was taken in last.
bool runtime::impl::stored_settings_changed() const {
    const store::record* r = catalog_->find(config::stored_kind, config::stored_id);
    return (r == nullptr ? 0 : r->revision) != settings_revision_;
}

config::load_result runtime::impl::load_all() {
    const store::record* r = catalog_->find(config::stored_kind, config::stored_id);
    settings_revision_ = r == nullptr ? 0 : r->revision;
    auto loaded = load_configuration(options_.config_file, options_.env, stored_settings(), true);
    if (!loaded) return loaded;
    for (const std::string& warning : loaded->warnings)
        log::event(log::level::warn, "configuration.warning", {{"text", warning}});
    if (options_.ignore_stored_settings && r != nullptr) {
        if (const auto version = config::version_from_json(r->json)) {
            for (const auto& [key, texts] : version->values)
                loaded->left_out.push_back(key);
        }
    }
    keep_demo(loaded->values);
    return loaded;
}

// Before the listeners: what needs a restart is read now.
void runtime::impl::take_stored_settings() {
    if (!stored_settings_changed()) return;
    auto next = load_all();
    if (!next) {  // the file was changed in this moment: the first refresh tries again
        settings_revision_ = 0;
        return;
    }
    loaded_ = std::move(*next);
    log::set_level(loaded_.values.log.level);
    log::recent().resize(loaded_.values.log.history_lines);
    health_.set_settings(health_of(loaded_.values.pool));
    settings_ = std::make_shared<const config::settings>(loaded_.values);
}

// The made-up upstream of a first look serves until there is a real one.
void runtime::impl::keep_demo(config::settings& next) const {
    if (!demo_) return;
    const auto& old = loaded_.values.groups;
    const bool any_key =
        std::ranges::any_of(next.groups, [](const auto& g) { return !g.keys.empty(); });
    if (!any_key && !old.empty()) next.groups.push_back(old.back());
}

bool runtime::impl::reload_settings() {
    auto next = load_all();
    if (!next) {
        for (const auto& p : next.error().items)
            log::event(log::level::error, "configuration.refused", {{"err", p.to_string()}});
        return false;
    }
    apply_configuration(std::move(*next));
    return true;
}

void runtime::impl::reload() {
    if (services_->tls) {
        if (auto done = services_->tls->reload(); !done)
            log::event(log::level::error, "certificate.refused", {{"err", done.error().context}});
    }
    reload_settings();
}

void runtime::impl::apply_configuration(config::loaded next) {
    for (const auto& change : config::differences(loaded_.values, next.values)) {
        log::event(log::level::info, "configuration.changed",
                   {{"setting", change.key}, {"needs_restart", change.needs_restart}});
    }
    loaded_ = std::move(next);
    add_master_keys();
    log::set_level(loaded_.values.log.level);
    log::recent().resize(loaded_.values.log.history_lines);
    health_.set_settings(health_of(loaded_.values.pool));
    for (const std::string& file : loaded_.files)
        watched_.try_emplace(file, modified_at(file));
    {
        const std::lock_guard lock(settings_mutex_);
        settings_ = std::make_shared<const config::settings>(loaded_.values);
    }
    if (auto done = jobs::seed(*settings_, *catalog_, seeding()); !done) seeded_ = false;
    refresh(true);
}

config::load_result runtime::impl::with(const config::stored_settings& stored) const {
    return load_configuration(options_.config_file, options_.env, stored);
}

std::optional<std::string> runtime::impl::variable(const std::string& name) const {
    const auto found = options_.env.find(name);
    if (found == options_.env.end() || found->second.empty()) return std::nullopt;
    return found->second;
}

}  // namespace kw::app
