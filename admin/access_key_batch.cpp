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

// Writes those that are possible and puts the result of each in its place.
reply write_all(call& c, std::vector<outcome> all, const std::vector<store::change>& writes) {
    const auto done = c.services.store.write_all(writes);
    std::size_t next = 0;
    for (auto& one : all) {
        if (one.reason != errc::ok) continue;
        if (const auto& written = done[next++]; !written) one.reason = written.error().code;
    }
    return told(all);
}

// As the records are now, whatever was listed before.
reply change_all(call& c, const std::vector<std::string>& ids, const json::object& changes) {
    std::vector<outcome> all;
    std::vector<store::change> writes;
    for (const auto& id : ids) {
        auto& one = all.emplace_back(outcome{id});
        auto record = c.services.store.get(auth::access_key_kind, id);
        const auto before =
            record ? auth::access_key_from(*record) : result<auth::access_key>(record.error());
        const auto after = before ? change_access_key(c, *record, changes) : before;
        if (!after) {
            one.reason = after.error().code;
        } else if (before->deleted) {
            one.reason = errc::store_not_found;
        } else {
            writes.push_back({std::move(*record), false});
        }
    }
    return write_all(c, std::move(all), writes);
}

reply purge_all(call& c, const std::vector<std::string>& ids) {
    std::vector<outcome> all;
    std::vector<store::change> writes;
    for (const auto& id : ids) {
        all.push_back({id});
        writes.push_back({{std::string(auth::access_key_kind), id, 0, {}}, true});
    }
    return write_all(c, std::move(all), writes);
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

    struct fresh {
        secret text;
        auth::access_key key;
    };
    std::vector<fresh> all;
    std::vector<store::change> writes;
    for (std::uint64_t n = 1; n <= count; ++n) {
        auto text = auth::make_key_text();
        auto record = new_access_key(c, text);
        (*changes)["name"] = *name + "-" + std::to_string(n);
        auto key = change_access_key(c, record, *changes);
        if (!key) return key.error();
        all.push_back({std::move(text), std::move(*key)});
        writes.push_back({std::move(record), false});
    }
    const auto written = c.services.store.write_all(writes);
    std::string keys;
    json_writer w(keys);
    w.begin_array();
    std::optional<error> failed;
    std::uint64_t made = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (!written[i]) {
            failed = written[i].error();
            continue;
        }
        ++made;
        w.begin_object().field("id", all[i].key.id).field("key", all[i].text.reveal());
        w.field("masked", all[i].key.masked).field("name", all[i].key.name);
        w.field("revision", *written[i]).end_object();
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
    if (const auto taken = change_access_key(c, trial, *changes); !taken) return taken.error();
    return change_all(c, *which, *changes);
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
    if (purge != nullptr && purge->get_bool()) return purge_all(c, *which);
    return change_all(c, *which, {{"deleted", true}});
}

}  // namespace kw::admin
