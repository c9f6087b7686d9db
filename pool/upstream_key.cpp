// The JSON form of upstream keys and groups.
#include "pool/upstream_key.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "core/crypto.hpp"
#include "core/json_writer.hpp"

namespace kw::pool {
namespace {

constexpr std::size_t max_notes = 1000;
constexpr std::string_view admin_names[] = {"enabled", "disabled", "banned"};
constexpr std::string_view test_names[] = {"untested", "success", "failed"};
constexpr std::string_view disconnect_names[] = {"cancel", "drain"};
constexpr std::string_view session_names[] = {"off", "named", "prefix"};
constexpr std::string_view unknown_names[] = {"median", "prefer", "avoid"};

// Reads the members of one object, each at most once; what is not asked for is an unknown field.
// The first fault is kept and names the field with its path.
class object_reader {
  public:
    object_reader(const boost::json::object& o, std::string path, std::string& fault)
        : o_(o), path_(std::move(path)), fault_(fault) {}

    template <class Int>
    void integer(const char* name, Int& out, std::int64_t least, std::int64_t most) {
        const auto* v = take(name);
        if (v == nullptr) return;
        boost::system::error_code ec;
        const auto n = v->to_number<std::int64_t>(ec);
        if (ec || !(v->is_int64() || v->is_uint64())) return bad(name, "must be an integer");
        if (n < least || n > most) return bad(name, "is out of range");
        out = static_cast<Int>(n);
    }
    void real(const char* name, double& out) {
        const auto* v = take(name);
        if (v == nullptr) return;
        boost::system::error_code ec;
        const auto n = v->to_number<double>(ec);
        if (ec || n < 0 || n > 1000) return bad(name, "must be a number from 0 to 1000");
        out = n;
    }
    void flag(const char* name, bool& out) {
        const auto* v = take(name);
        if (v == nullptr) return;
        if (!v->is_bool()) return bad(name, "must be true or false");
        out = v->get_bool();
    }
    void text(const char* name, std::string& out, std::size_t most = 4096) {
        const auto* v = take(name);
        if (v == nullptr) return;
        if (!v->is_string()) return bad(name, "must be a text");
        const auto t = std::string_view(v->get_string());
        // Characters, not bytes: continuation bytes do not count.
        const auto length = static_cast<std::size_t>(std::count_if(t.begin(), t.end(), [](char c) {
            return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
        }));
        if (length > most) return bad(name, "is too long");
        out = t;
    }
    // A text that becomes the value of a header.
    void header(const char* name, std::string& out) {
        text(name, out, 200);
        if (std::any_of(out.begin(), out.end(), [](char c) { return c <= ' ' || c > '~'; }))
            bad(name, "must be visible ASCII");
    }
    [[nodiscard]] bool has(const char* name) const noexcept {
        const auto* v = o_.if_contains(name);
        return v != nullptr && !v->is_null();
    }
    void texts(const char* name, std::vector<std::string>& out) {
        const auto* v = take(name);
        if (v == nullptr) return;
        if (!v->is_array()) return bad(name, "must be a list of texts");
        out.clear();
        for (const auto& e : v->get_array()) {
            if (!e.is_string() || e.get_string().empty())
                return bad(name, "must be a list of texts");
            out.emplace_back(e.get_string());
        }
    }
    template <class Enum, std::size_t N>
    void choice(const char* name, Enum& out, const std::string_view (&names)[N]) {
        std::string word;
        text(name, word);
        if (word.empty()) return;
        for (std::size_t i = 0; i < N; ++i) {
            if (names[i] == word) {
                out = static_cast<Enum>(i);
                return;
            }
        }
        bad(name, "is none of the known words");
    }
    template <class Enum>
    void choice(const char* name, Enum& out,
                std::optional<Enum> (*parse)(std::string_view) noexcept) {
        std::string word;
        text(name, word);
        if (word.empty()) return;
        const auto found = parse(word);
        if (!found) return bad(name, "is none of the known words");
        out = *found;
    }
    void duration(const char* name, std::optional<nanoseconds>& out) {
        std::int64_t ms = -1;
        integer(name, ms, 0, 30LL * 86'400'000);
        if (ms >= 0) out = std::chrono::milliseconds(ms);
    }
    // Null when it is not there or not of that type.
    const boost::json::object* object(const char* name) {
        const auto* v = take(name);
        if (v == nullptr) return nullptr;
        if (!v->is_object()) bad(name, "must be an object");
        return v->if_object();
    }
    const boost::json::array* array(const char* name) {
        const auto* v = take(name);
        if (v == nullptr) return nullptr;
        if (!v->is_array()) bad(name, "must be a list");
        return v->if_array();
    }
    void bad(const char* name, std::string_view why) {
        if (fault_.empty()) fault_.append(path_).append(name).append(" ").append(why);
    }
    // After all members: whatever was not asked for.
    void finish() {
        for (const auto& [name, v] : o_) {
            const std::string key(name);
            if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
                return bad(key.c_str(), "is not a known field");
            }
        }
    }
    [[nodiscard]] std::string path(const char* name) const { return path_ + name + '.'; }
    [[nodiscard]] std::string& fault() noexcept { return fault_; }

  private:
    const boost::json::value* take(const char* name) {
        known_.emplace_back(name);
        const auto* v = o_.if_contains(name);
        return v == nullptr || v->is_null() ? nullptr : v;
    }
    const boost::json::object& o_;
    std::string path_;
    std::string& fault_;
    std::vector<std::string> known_;
};

result<boost::json::value> parse_object(std::string_view json, std::string_view what) {
    boost::system::error_code ec;
    auto v = boost::json::parse(json, ec);
    if (ec || !v.is_object()) {
        return error(errc::invalid_argument, std::string(what) + ": not a JSON object");
    }
    return v;
}

void write_texts(json_writer& w, std::string_view name, const std::vector<std::string>& texts) {
    w.key(name).begin_array();
    for (const auto& t : texts)
        w.value(t);
    w.end_array();
}

std::int64_t to_ms(nanoseconds d) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}

void write_duration(json_writer& w, std::string_view name, const std::optional<nanoseconds>& d) {
    if (d) w.field(name, to_ms(*d));
}

void write_rule(json_writer& w, const fault_rule& r) {
    w.begin_object()
        .field("status_from", r.status_from)
        .field("status_to", r.status_to)
        .field("transport", to_string(r.transport))
        .field("code", r.code)
        .field("message", r.message)
        .field("action", to_string(r.action))
        .field("fault", to_string(r.fault));
    write_duration(w, "duration_ms", r.duration);
    w.field("after_threshold", r.after_threshold)
        .field("retry", r.retry)
        .field("fallback", r.fallback)
        .end_object();
}

fault_rule read_rule(const boost::json::object& o, const std::string& path, std::string& fault) {
    fault_rule rule;
    object_reader r(o, path, fault);
    r.integer("status_from", rule.status_from, 0, 999);
    r.integer("status_to", rule.status_to, 0, 999);
    r.choice("transport", rule.transport, parse_transport_failure);
    r.text("code", rule.code, 200);
    r.text("message", rule.message, 500);
    r.choice("action", rule.action, parse_fault_action);
    r.choice("fault", rule.fault, parse_fault_class);
    r.duration("duration_ms", rule.duration);
    r.flag("after_threshold", rule.after_threshold);
    r.flag("retry", rule.retry);
    r.flag("fallback", rule.fallback);
    r.finish();
    return rule;
}

constexpr std::int64_t large = std::int64_t{1} << 53;
constexpr std::int64_t most_leases = 1'000;

}  // namespace

std::string_view to_string(admin_status s) noexcept {
    return admin_names[static_cast<std::size_t>(s)];
}
std::string_view to_string(test_outcome t) noexcept {
    return test_names[static_cast<std::size_t>(t)];
}

std::string to_json(const upstream_key& k, const crypto::sealer& sealer) {
    std::string out;
    json_writer w(out);
    w.begin_object()
        .field("id", k.id)
        .field("alias", k.alias)
        .field("notes", k.notes)
        .field("group", k.group_id)
        .field("provider", k.provider)
        .field("base_url", k.base_url);
    write_texts(w, "models", k.models);
    w.field("account", k.account)
        .field("weight_ppm", k.weight_ppm)
        .field("status", to_string(k.status))
        .field("reason", k.reason);
    if (!k.value.empty()) w.field("sealed", sealer.seal(k.value, k.id));
    w.key("caps")
        .begin_object()
        .field("concurrency", k.caps.concurrency)
        .field("rpm", k.caps.rpm)
        .field("tpm", k.caps.tpm)
        .field("tokens_per_day", k.caps.tokens_per_day)
        .end_object();
    if (k.quota_tokens) w.field("quota_tokens", *k.quota_tokens);
    if (k.max_leases) w.field("max_leases", *k.max_leases);
    if (!k.organization.empty()) w.field("organization", k.organization);
    if (!k.project.empty()) w.field("project", k.project);
    w.field("created_ms", unix_ms(k.created))
        .field("declared", k.declared)
        .field("last_test", to_string(k.last_test))
        .end_object();
    return out;
}

result<upstream_key> key_from_json(std::string_view json, const crypto::sealer& sealer) {
    const auto parsed = parse_object(json, "upstream key");
    if (!parsed) return parsed.error();
    std::string fault;
    upstream_key k;
    std::string sealed;
    std::int64_t created = 0;
    std::int64_t quota = -1;
    std::int64_t leases = -1;
    object_reader r(parsed->get_object(), "upstream key: ", fault);
    r.text("id", k.id, 64);
    r.text("alias", k.alias, 200);
    r.text("notes", k.notes, max_notes);
    r.text("group", k.group_id, 64);
    r.text("provider", k.provider, 64);
    r.text("base_url", k.base_url);
    r.texts("models", k.models);
    r.text("account", k.account, 200);
    r.integer("weight_ppm", k.weight_ppm, 1, 1'000'000'000);
    r.choice("status", k.status, admin_names);
    r.text("reason", k.reason);
    r.text("sealed", sealed, 16384);
    if (const auto* caps = r.object("caps")) {
        object_reader c(*caps, "upstream key: caps.", fault);
        c.integer("concurrency", k.caps.concurrency, 0, 1'000'000);
        c.integer("rpm", k.caps.rpm, 0, large);
        c.integer("tpm", k.caps.tpm, 0, large);
        c.integer("tokens_per_day", k.caps.tokens_per_day, 0, large);
        c.finish();
    }
    r.integer("quota_tokens", quota, 0, large);
    r.integer("max_leases", leases, 0, most_leases);
    r.header("organization", k.organization);
    r.header("project", k.project);
    r.integer("created_ms", created, 0, large);
    r.flag("declared", k.declared);
    r.choice("last_test", k.last_test, test_names);
    r.finish();
    if (k.id.empty()) r.bad("id", "is missing");
    if (k.group_id.empty()) r.bad("group", "is missing");
    if (!fault.empty()) return error(errc::invalid_argument, fault);
    if (quota >= 0) k.quota_tokens = quota;
    if (leases >= 0) k.max_leases = static_cast<std::uint32_t>(leases);
    k.created = wall_time(std::chrono::milliseconds(created));
    if (!sealed.empty()) {
        if (auto opened = sealer.open(sealed, k.id)) {
            k.value = std::move(*opened);
        } else {
            k.status = admin_status::disabled;
            k.reason = "its secret does not open with this master key";
        }
    }
    return k;
}

std::string to_json(const group& g) {
    std::string out;
    json_writer w(out);
    w.begin_object()
        .field("id", g.id)
        .field("name", g.name)
        .field("priority", g.priority)
        .field("strategy", g.strategy);
    w.key("strategy_settings")
        .begin_object()
        .field("success_weight", g.settings.success_weight)
        .field("freshness_weight", g.settings.freshness_weight)
        .field("experience_weight", g.settings.experience_weight)
        .field("freshness_limit_ms", to_ms(g.settings.freshness_limit))
        .field("unknown_quota", unknown_names[static_cast<std::size_t>(g.settings.unknown)])
        .end_object();
    w.field("provider", g.provider).field("base_url", g.base_url);
    write_texts(w, "models", g.models);
    w.field("on_disconnect", disconnect_names[static_cast<std::size_t>(g.on_disconnect)])
        .field("include_usage", g.include_usage)
        .field("egress_proxy", g.egress_proxy)
        .field("tls_ca", g.tls_ca);
    w.key("timeouts").begin_object();
    write_duration(w, "connect_ms", g.timeouts.connect);
    write_duration(w, "tls_ms", g.timeouts.tls);
    write_duration(w, "first_byte_ms", g.timeouts.first_byte);
    write_duration(w, "first_token_ms", g.timeouts.first_token);
    write_duration(w, "between_chunks_ms", g.timeouts.between_chunks);
    write_duration(w, "total_ms", g.timeouts.total);
    w.end_object();
    w.key("fault_rules").begin_array();
    for (const auto& rule : g.fault_rules)
        write_rule(w, rule);
    w.end_array();
    w.field("multiplier_ppm", g.multiplier_ppm)
        .field("organization", g.organization)
        .field("project", g.project)
        .field("retry", g.retry)
        .field("automatic", g.automatic);
    if (g.max_leases) w.field("max_leases", *g.max_leases);
    if (g.lease_raw) w.field("lease_raw", true);
    if (g.sessions) w.field("sessions", session_names[static_cast<std::size_t>(*g.sessions)]);
    write_duration(w, "session_lifetime_ms", g.session_lifetime);
    if (!g.quota.url.empty())
        w.key("quota")
            .begin_object()
            .field("url", g.quota.url)
            .field("remaining", g.quota.remaining)
            .field("allowance", g.quota.allowance)
            .field("used", g.quota.used)
            .field("tokens_per_unit", g.quota.tokens_per_unit)
            .end_object();
    w.end_object();
    return out;
}

result<group> group_from_json(std::string_view json) {
    const auto parsed = parse_object(json, "group");
    if (!parsed) return parsed.error();
    std::string fault;
    group g;
    object_reader r(parsed->get_object(), "group: ", fault);
    r.text("id", g.id, 64);
    r.text("name", g.name, 200);
    r.integer("priority", g.priority, -1'000'000, 1'000'000);
    r.text("strategy", g.strategy, 64);
    if (const auto* o = r.object("strategy_settings")) {
        object_reader s(*o, "group: strategy_settings.", fault);
        std::optional<nanoseconds> limit;
        s.real("success_weight", g.settings.success_weight);
        s.real("freshness_weight", g.settings.freshness_weight);
        s.real("experience_weight", g.settings.experience_weight);
        s.duration("freshness_limit_ms", limit);
        s.choice("unknown_quota", g.settings.unknown, unknown_names);
        s.finish();
        if (limit) g.settings.freshness_limit = *limit;
    }
    r.text("provider", g.provider, 64);
    r.text("base_url", g.base_url);
    r.texts("models", g.models);
    r.choice("on_disconnect", g.on_disconnect, disconnect_names);
    r.flag("include_usage", g.include_usage);
    r.text("egress_proxy", g.egress_proxy);
    r.text("tls_ca", g.tls_ca);
    if (const auto* o = r.object("timeouts")) {
        object_reader t(*o, "group: timeouts.", fault);
        t.duration("connect_ms", g.timeouts.connect);
        t.duration("tls_ms", g.timeouts.tls);
        t.duration("first_byte_ms", g.timeouts.first_byte);
        t.duration("first_token_ms", g.timeouts.first_token);
        t.duration("between_chunks_ms", g.timeouts.between_chunks);
        t.duration("total_ms", g.timeouts.total);
        t.finish();
    }
    if (const auto* rules = r.array("fault_rules")) {
        for (const auto& rule : *rules) {
            if (!rule.is_object()) {
                r.bad("fault_rules", "must be a list of objects");
                break;
            }
            g.fault_rules.push_back(read_rule(rule.get_object(), "group: fault_rules.", fault));
        }
    }
    r.integer("multiplier_ppm", g.multiplier_ppm, 0, 1'000'000'000);
    r.header("organization", g.organization);
    r.header("project", g.project);
    r.flag("retry", g.retry);
    r.flag("automatic", g.automatic);
    std::int64_t leases = -1;
    r.integer("max_leases", leases, 0, most_leases);
    r.flag("lease_raw", g.lease_raw);
    if (r.has("sessions")) r.choice("sessions", g.sessions.emplace(), session_names);
    r.duration("session_lifetime_ms", g.session_lifetime);
    if (const auto* o = r.object("quota")) {
        object_reader q(*o, "group: quota.", fault);
        q.text("url", g.quota.url);
        for (const auto& [name, pointer] :
             {std::pair("remaining", &g.quota.remaining),
              std::pair("allowance", &g.quota.allowance), std::pair("used", &g.quota.used)}) {
            q.text(name, *pointer, 200);
            if (!pointer->empty() && !pointer->starts_with('/'))
                q.bad(name, "must be a JSON pointer such as /data/limit");
        }
        q.integer("tokens_per_unit", g.quota.tokens_per_unit, 1, 1'000'000'000'000);
        q.finish();
    }
    r.finish();
    if (leases >= 0) g.max_leases = static_cast<std::uint32_t>(leases);
    if (g.id.empty()) r.bad("id", "is missing");
    if (!fault.empty()) return error(errc::invalid_argument, fault);
    return g;
}

std::string host_of(std::string_view base_url) {
    const auto scheme = base_url.find("://");
    const auto from = scheme == std::string_view::npos ? 0 : scheme + 3;
    std::string out(base_url.substr(0, base_url.find_first_of("/?#", from)));
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    if (scheme != std::string_view::npos && out.find(':', from) == std::string::npos) {
        out += out.starts_with("http://") ? ":80" : ":443";
    }
    return out;
}

}  // namespace kw::pool
