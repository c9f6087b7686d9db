// Everything that was made by hand, in one document: without secrets, sealed by a passphrase, or in
// clear. And lists for a spreadsheet.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/handlers.hpp"
#include "admin/transfer.hpp"
#include "auth/pepper.hpp"
#include "config/settings.hpp"
#include "core/crypto.hpp"
#include "core/log.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

// Calls each(record) until it fails.
template <class Each>
result<void> for_records(call& c, std::string_view kind, Each each) {
    for (store::page_request at{1000, {}};;) {
        const auto page = c.services.store.list(kind, at);
        if (!page) return page.error();
        for (const auto& record : page->items)
            each(record);
        if (page->next.empty()) return {};
        at.cursor = page->next;
    }
}

struct written_document {
    json::object records;
    json::array left_out;
    std::size_t count = 0;
};

result<written_document> collect(call& c, const std::vector<std::string>& wanted, bool secrets) {
    written_document out;
    for (const auto& kind : portable_kinds()) {
        if (!wanted.empty() && std::ranges::find(wanted, kind.kind) == wanted.end()) continue;
        json::array list;
        const auto read = for_records(c, kind.kind, [&](const store::record& r) {
            auto data = parse_object(r.json);
            const bool opens = data && (!secrets || kind.open(c, r.id, *data));
            if (!data || !opens) {
                out.left_out.push_back({{"kind", kind.kind},
                                        {"id", r.id},
                                        {"reason", data ? "its secret does not open" : "damaged"}});
                return;
            }
            // What a lease handed out ends where it was handed out.
            if (kind.kind == auth::access_key_kind && data->contains("holder")) return;
            if (!secrets) kind.hide(c, r.id, *data);
            list.push_back({{"id", r.id}, {"data", std::move(*data)}});
            ++out.count;
        });
        if (!read) return read.error();
        out.records[kind.kind] = std::move(list);
    }
    return out;
}

result<json::array> collect_peppers(call& c) {
    json::array out;
    out.emplace_back(c.services.pepper.reveal());
    const auto read = for_records(c, auth::pepper_kind, [&](const store::record& r) {
        if (!auth::is_other_pepper(r)) return;
        if (const auto opened = auth::open_pepper(r, c.services.sealer))
            out.emplace_back(opened->reveal());
    });
    if (!read) return read.error();
    return out;
}

reply attachment(std::string_view data, std::string_view name) {
    auto out = answer(data);
    out.headers.emplace_back("Content-Disposition",
                             "attachment; filename=\"" + std::string(name) + "\"");
    return out;
}

json::object head(const call& c, std::string_view mode) {
    return {{"keywheel_export", export_format},
            {"release", KEYWHEEL_VERSION},
            {"made_at", format_time(c.services.clock.wall())},
            {"mode", mode}};
}

result<std::vector<std::string>> kinds_in(const json::value* list) {
    std::vector<std::string> out;
    if (list == nullptr) return out;
    auto bad = bad_field("kinds", "must be a list of kinds of records");
    if (!list->is_array() || list->get_array().empty()) return bad;
    for (const auto& one : list->get_array()) {
        if (!one.is_string() || find_portable(std::string_view(one.get_string())) == nullptr)
            return bad;
        out.emplace_back(one.get_string());
    }
    return out;
}

void tell(const call& c, std::string_view mode, std::size_t count) {
    log::event(log::level::warn, mode == "decrypted" ? "admin.export_in_clear" : "admin.exported",
               {{"mode", mode},
                {"count", count},
                {"source", c.request.source},
                {"request_id", c.request.request_id}});
}

// RFC 4180; a cell that a spreadsheet would take for a formula begins with an apostrophe.
void write_cell(std::string& out, std::string_view text, bool last = false) {
    out += '"';
    if (!text.empty() && std::string_view("=+-@\t\r").find(text[0]) != std::string_view::npos)
        out += '\'';
    for (const char ch : text) {
        if (ch == '"') out += '"';
        out += ch;
    }
    out += last ? "\"\r\n" : "\",";
}

std::string yes_no(bool b) {
    return b ? "true" : "false";
}

std::string keys_as_csv(const call& c) {
    std::string out = "id,alias,group,status,provider,base_url,account,notes,created,key\r\n";
    for (const auto& [id, entry] : c.records.keys()) {
        const auto& k = entry.key;
        for (const auto& text :
             {id, k.alias, k.group_id, std::string(to_string(k.status)), k.provider, k.base_url,
              k.account, k.notes, format_time(k.created)})
            write_cell(out, text);
        write_cell(out, entry.masked, true);
    }
    return out;
}

std::string access_keys_as_csv(const call& c) {
    std::string out =
        "id,name,description,owner_name,owner_email,group,disabled,deleted,created,expires_at,"
        "tags,key\r\n";
    c.records.each_access_key([&](const auth::access_key& k) {
        std::string tags;
        for (const auto& tag : k.options->tags)
            tags.append(tags.empty() ? "" : " ").append(tag);
        for (const auto& text :
             {k.id, k.name, k.description, k.options->owner_name, k.options->owner_email,
              k.options->group, yes_no(k.disabled), yes_no(k.deleted), format_time(k.created),
              k.expires_at ? format_time(*k.expires_at) : std::string(), tags})
            write_cell(out, text);
        write_cell(out, k.masked, true);
    });
    return out;
}

}  // namespace

result<reply> export_csv(call& c) {
    auto q = c.query();
    const auto kind = q.choice("kind", {key_kind, auth::access_key_kind}, 0);
    if (const auto ok = q.finish(); !ok) return ok.error();
    reply out;
    out.content_type = "text/csv; charset=utf-8";
    out.body = kind == 0 ? keys_as_csv(c) : access_keys_as_csv(c);
    out.headers.emplace_back("Content-Disposition",
                             kind == 0 ? "attachment; filename=\"keywheel-upstream-keys.csv\""
                                       : "attachment; filename=\"keywheel-access-keys.csv\"");
    return out;
}

result<reply> export_all(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto mode = in.text("mode").value_or("sanitized");
    const secret passphrase(in.text("passphrase", 1024).value_or(""));
    const secret admin_key(in.text("admin_key", 1024).value_or(""));
    const auto wanted = kinds_in(in.take("kinds"));
    if (mode != "sanitized" && mode != "encrypted" && mode != "decrypted")
        in.fault("mode", "must be sanitized, encrypted or decrypted");
    if (mode == "encrypted" && passphrase.size() < min_passphrase)
        in.fault("passphrase", "must have 12 characters or more");
    if (mode != "encrypted" && !passphrase.empty())
        in.fault("passphrase", "is only for the mode encrypted");
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!wanted) return wanted.error();
    const auto settings = c.services.settings();
    if (mode == "decrypted" &&
        (settings->auth.admin_key.empty() || admin_key != settings->auth.admin_key)) {
        log::event(log::level::warn, "admin.export_refused", {{"source", c.request.source}});
        return refuse(403, "not_confirmed",
                      "secrets in clear: confirm by the admin secret in the field \"admin_key\"");
    }

    auto made = collect(c, *wanted, mode != "sanitized");
    if (!made) return made.error();
    auto document = head(c, mode == "encrypted" ? "decrypted" : mode);
    document["records"] = std::move(made->records);
    if (!made->left_out.empty()) document["left_out"] = std::move(made->left_out);
    if (mode != "sanitized") {
        auto peppers = collect_peppers(c);
        if (!peppers) return peppers.error();
        document["peppers"] = std::move(*peppers);
    }
    tell(c, mode, made->count);
    if (mode != "encrypted")
        return attachment(json::serialize(document), "keywheel-export-" + mode + ".json");
    auto sealed = head(c, mode);
    sealed["sealed"] =
        crypto::seal_by_passphrase(passphrase, secret(json::serialize(document)), export_label);
    return attachment(json::serialize(sealed), "keywheel-export-encrypted.json");
}

}  // namespace kw::admin
