// The records of a takeover as JSON, and sealed texts found and replaced where they stand.
#include "auth/master_key.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <optional>

#include "auth/pepper.hpp"
#include "core/json_writer.hpp"

namespace kw::auth {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 5> state_names = {"none", "asking", "resealing", "done",
                                                         "refused"};

error unreadable(const store::record& r) {
    return error(errc::invalid_argument, r.kind + " " + r.id + " is not readable");
}

std::int64_t to_ms(wall_time t) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count();
}

result<json::object> object_of(const store::record& r) {
    boost::system::error_code failed;
    auto v = json::parse(r.json, failed);
    if (failed || !v.is_object()) return unreadable(r);
    return std::move(v.get_object());
}

std::string text_of(const json::object& o, std::string_view name) {
    const auto* v = o.if_contains(name);
    return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
}

std::int64_t number_of(const json::object& o, std::string_view name) {
    const auto* v = o.if_contains(name);
    return v != nullptr && v->is_int64() ? v->get_int64() : 0;
}

// Where a sealed text stands in a record. Records are written without white space, and a quote
// inside a text is escaped, so nothing but a member is found.
struct span_of_text {
    std::size_t at;
    std::string_view text;
};
std::optional<span_of_text> find_sealed(std::string_view record) noexcept {
    for (const std::string_view name : {R"("sealed":")", R"("egress_proxy":")"}) {
        const auto found = record.find(name);
        if (found == std::string_view::npos) continue;
        const auto begin = found + name.size();
        const auto end = record.find('"', begin);
        const auto text = record.substr(begin, end == record.npos ? 0 : end - begin);
        if (!crypto::sealed_by(text).empty()) return span_of_text{begin, text};
    }
    return std::nullopt;
}

std::string list_of(const std::vector<std::string>& ids) {
    std::string out;
    for (const auto& id : ids)
        out += (out.empty() ? "" : ", ") + id;
    return out;
}

}  // namespace

std::string_view to_string(takeover_state s) noexcept {
    return state_names[static_cast<std::size_t>(s)];
}

std::string to_json(const takeover& t) {
    std::string out;
    json_writer(out)
        .begin_object()
        .field("state", to_string(t.state))
        .field("from", t.from)
        .field("to", t.to)
        .field("ask", t.ask)
        .field("reason", t.reason)
        .field("total", t.total)
        .field("started_ms", to_ms(t.started))
        .field("ended_ms", to_ms(t.ended))
        .end_object();
    return out;
}

result<takeover> takeover_from(const store::record& r) {
    const auto object = object_of(r);
    if (!object) return object.error();
    const auto* state = std::ranges::find(state_names, text_of(*object, "state"));
    if (state == state_names.end()) return unreadable(r);
    takeover t;
    t.state = static_cast<takeover_state>(state - state_names.begin());
    t.from = text_of(*object, "from");
    t.to = text_of(*object, "to");
    t.ask = text_of(*object, "ask");
    t.reason = text_of(*object, "reason");
    t.total = static_cast<std::uint64_t>(std::max<std::int64_t>(number_of(*object, "total"), 0));
    t.started = wall_time(std::chrono::milliseconds(number_of(*object, "started_ms")));
    t.ended = wall_time(std::chrono::milliseconds(number_of(*object, "ended_ms")));
    return t;
}

store::record to_record(const master_key_answer& a, std::string_view id) {
    store::record r{std::string(master_key_answer_kind), std::string(id), 0, {}};
    json_writer(r.json)
        .begin_object()
        .field("ask", a.ask)
        .field("replica", a.replica)
        .field("knows", a.knows)
        .end_object();
    return r;
}

result<master_key_answer> answer_from(const store::record& r) {
    const auto object = object_of(r);
    if (!object) return object.error();
    const auto* knows = object->if_contains("knows");
    return master_key_answer{text_of(*object, "ask"), text_of(*object, "replica"),
                             knows != nullptr && knows->is_bool() && knows->get_bool()};
}

std::string_view sealed_by(const store::record& r) noexcept {
    const auto found = find_sealed(r.json);
    return found ? crypto::sealed_by(found->text) : std::string_view();
}

result<store::record> sealed_anew(const store::record& r, const crypto::sealer& with) {
    const auto found = find_sealed(r.json);
    if (!found) return r;
    const auto opened = with.open(found->text, r.id);
    if (!opened) return opened.error();
    store::record out = r;
    out.json.replace(found->at, found->text.size(), with.seal(*opened, r.id));
    return out;
}

result<void> check_master_keys(const stored_records& stored, const crypto::sealer& keys) {
    const auto refuse = [&](std::string_view id, std::string_view what, std::string_view hint) {
        return error(errc::invalid_argument, std::string(what) + " master key " + std::string(id) +
                                                 ", and this process was given " +
                                                 list_of(keys.key_ids()) + ": " +
                                                 std::string(hint) + ". Nothing was changed.");
    };
    constexpr std::string_view which =
        "start it with the master key that sealed them (ENCRYPTION_KEY, store.encryption_key, or "
        "encryption.key in the data directory); `keywheel keys rotate-master` is the way to "
        "another one";
    takeover last;
    if (const auto* r = stored.find(master_key_kind, master_key_id)) {
        auto read = takeover_from(*r);
        if (!read) return read.error();
        last = std::move(*read);
    }
    if (!last.seals().empty() && !keys.knows(last.seals()))
        return refuse(last.seals(), "the stored secrets are sealed with", which);
    const bool half = last.state == takeover_state::resealing && !keys.knows(last.from);
    for (const auto kind : sealed_kinds) {
        if (!half) break;
        for (const auto* r : stored.of_kind(kind))
            if (sealed_by(*r) == last.from)
                return refuse(last.from,
                              "a change of the master key is not finished, and stored secrets are "
                              "still sealed with",
                              "give that one as ENCRYPTION_KEY_OLD until it is");
    }
    if (const auto* r = stored.find(pepper_kind, pepper_id)) {
        const auto id = sealed_by(*r);
        if (!id.empty() && !keys.knows(id))
            return refuse(id, "the stored secrets are sealed with", which);
    }
    return {};
}

}  // namespace kw::auth
