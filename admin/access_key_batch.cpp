// Many access keys in one call. What is wrong with the whole call is refused before anything is
// written; after that each key has its own result.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/access_key_edit.hpp"
#include "admin/handlers.hpp"
#include "auth/key_text.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

constexpr std::size_t max_batch = 1'000;

struct outcome {
    std::string id;
    errc reason = errc::ok;
};

std::string_view name_of(errc reason) {
    if (reason == errc::store_not_found) return "not_found";
    return reason == errc::store_conflict ? "conflict" : to_string(reason);
}

reply told(const std::vector<outcome>& all) {
    std::string data;
    json_writer w(data);
    const auto done = std::ranges::count(all, errc::ok, &outcome::reason);
    w.begin_object().field("count", std::int64_t{done}).key("results").begin_array();
    for (const auto& one : all) {
        w.begin_object().field("id", one.id).field("ok", one.reason == errc::ok);
        if (one.reason != errc::ok) w.field("reason", name_of(one.reason));
        w.end_object();
    }
    w.end_array().end_object();
    return answer(data);
}

result<std::vector<std::string>> ids(body_fields& in) {
    const auto* list = in.take("ids");
    if (list == nullptr || !list->is_array() || list->get_array().empty() ||
        list->get_array().size() > max_batch)
        return bad_field("ids", "must be a list of 1 to 1000 ids");
    std::vector<std::string> out;
    for (const auto& id : list->get_array()) {
        if (!id.is_string()) return bad_field("ids", "must be a list of texts");
        out.emplace_back(id.get_string());
    }
    return out;
}

// As the record is now, whatever was listed before.
errc change_one(call& c, const std::string& id, const json::object& changes) {
    auto record = c.services.store.get(auth::access_key_kind, id);
    if (!record) return record.error().code;
    const auto before = auth::access_key_from(*record);
    if (!before) return before.error().code;
    if (before->deleted) return errc::store_not_found;
    if (const auto after = change_access_key(*record, changes); !after) return after.error().code;
    const auto written = c.services.store.put(*record);
    return written ? errc::ok : written.error().code;
}

errc purge_one(call& c, const std::string& id) {
    const auto erased = c.services.store.erase(auth::access_key_kind, id, 0);
    return erased ? errc::ok : erased.error().code;
}

}  // namespace

result<reply> create_access_keys(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    auto changes = access_key_changes(c, in);
    if (!in.given("count")) in.fault("count", "is missing");
    const auto count = in.whole("count").value_or(0);
    if (count < 1 || count > max_batch) in.fault("count", "must be a whole number from 1 to 1000");
    const auto name = in.text("name", 200);
    if (!name || name->empty()) in.fault("name", "is missing");
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!changes) return changes.error();

    std::string keys;
    json_writer w(keys);
    w.begin_array();
    std::optional<error> failed;
    std::uint64_t made = 0;
    while (made < count && !failed) {
        const auto text = auth::make_key_text();
        auto record = new_access_key(c, text);
        (*changes)["name"] = *name + "-" + std::to_string(made + 1);
        const auto key = change_access_key(record, *changes);
        if (!key) return key.error();  // the first one tells
        const auto revision = c.services.store.put(record);
        if (!revision) {
            failed = revision.error();
            break;
        }
        ++made;
        w.begin_object().field("id", key->id).field("key", text.reveal());
        w.field("masked", key->masked).field("name", key->name);
        w.field("revision", *revision).end_object();
    }
    w.end_array();
    std::string data;
    json_writer(data).begin_object().field("count", made).key("access_keys").raw(keys).end_object();
    if (!failed) return answer(data, {}, 201);
    // The texts of those that were made are shown nowhere else.
    auto out = refuse(*failed);
    json_writer body_out(out.body = {});
    body_out.begin_object().field("success", false);
    body_out.field("message", "the store failed on the way: these were made").key("data");
    body_out.raw(data).end_object();
    return out;
}

result<reply> update_access_keys(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto which = ids(in);
    const auto* given = in.take("changes");
    if (which && (given == nullptr || !given->is_object() || given->get_object().empty()))
        in.fault("changes", "must be an object of fields");
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!which) return which.error();
    body_fields fields(given->get_object());
    const auto changes = access_key_changes(c, fields);
    if (const auto ok = fields.finish(); !ok) return ok.error();
    if (!changes) return changes.error();
    // What no record takes is the call's fault and not each key's.
    auth::access_key blank;
    blank.id = "blank";
    auto trial = auth::to_record(blank);
    if (const auto taken = change_access_key(trial, *changes); !taken) return taken.error();
    std::vector<outcome> all;
    for (const auto& id : *which)
        all.push_back({id, change_one(c, id, *changes)});
    return told(all);
}

result<reply> delete_access_keys(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto which = ids(in);
    const auto* purge = in.take("purge");
    if (purge != nullptr && !purge->is_bool()) in.fault("purge", "must be true or false");
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!which) return which.error();
    const bool gone = purge != nullptr && purge->get_bool();
    std::vector<outcome> all;
    for (const auto& id : *which)
        all.push_back({id, gone ? purge_one(c, id) : change_one(c, id, {{"deleted", true}})});
    return told(all);
}

}  // namespace kw::admin
