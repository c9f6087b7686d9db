// Takes a document: ours, or of another gateway. Nothing is written before all of it was read and
// checked; after that each record has its own result.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/config_port.hpp"
#include "admin/config_store.hpp"
#include "admin/handlers.hpp"
#include "admin/import_formats.hpp"
#include "admin/key_edit.hpp"
#include "auth/authenticator.hpp"
#include "auth/key_text.hpp"
#include "auth/pepper.hpp"
#include "core/json_writer.hpp"
#include "core/log.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

struct import_options {
    import_format format = import_format::automatic;
    bool dry_run = false;
    bool overwrite = false;
    std::string group{default_group};
    secret passphrase;
    json::value document;       // where the body is JSON
    std::string document_text;  // where it is not
    [[nodiscard]] import_source source() const {
        return {document_text, document_text.empty() ? &document : nullptr};
    }
};

bool looks_like_json(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    return first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
}

// The document is the body itself, or lies in its field `document` beside the options.
result<import_options> read_options(call& c) {
    import_options out;
    auto q = c.query();
    auto format = q.text("format");
    auto mode = q.text("mode");
    auto dry_run = q.text("dry_run");
    auto group = q.text("group");
    if (const auto ok = q.finish(); !ok) return ok.error();
    const auto take_document = [&](std::string_view text) -> result<void> {
        if (!looks_like_json(text)) {
            out.document_text = text;
            return {};
        }
        boost::system::error_code failed;
        out.document = json::parse(text, failed);
        if (failed) return error(errc::invalid_argument, "the document is not valid JSON");
        return {};
    };
    if (c.request.body.find_first_not_of(" \t\r\n") == std::string::npos)
        return bad_field("document", "is missing");
    if (const auto ok = take_document(c.request.body); !ok) return ok.error();
    if (auto* wrapper = out.document.if_object();
        wrapper != nullptr && wrapper->contains("document")) {
        const json::object body = std::move(*wrapper);
        out.document = nullptr;
        body_fields in(body);
        if (auto v = in.text("format")) format = std::move(v);
        if (auto v = in.text("mode")) mode = std::move(v);
        if (auto v = in.text("group", 64)) group = std::move(v);
        if (const auto* v = in.take("dry_run")) {
            if (!v->is_bool())
                in.fault("dry_run", "must be true or false");
            else
                dry_run = v->get_bool() ? "true" : "false";
        }
        out.passphrase = secret(in.text("passphrase", 1024).value_or(""));
        const auto* document = in.take("document");
        if (document == nullptr) in.fault("document", "is missing");
        if (const auto ok = in.finish(); !ok) return ok.error();
        if (const auto* text = document->if_string()) {
            if (text->empty()) return bad_field("document", "is empty");
            if (const auto ok = take_document({text->data(), text->size()}); !ok) return ok.error();
        } else {
            out.document = *document;
        }
    }
    // What an export answered, envelope and all.
    if (auto* envelope = out.document.if_object(); envelope != nullptr && envelope->size() == 2 &&
                                                   envelope->contains("success") &&
                                                   envelope->contains("data")) {
        json::value inner = std::move(envelope->at("data"));
        out.document = std::move(inner);
    }
    if (format) {
        const auto known = parse_import_format(*format);
        if (!known)
            return bad_field("format",
                             "must be auto, keywheel, litellm, keys, key_pool or access_keys");
        out.format = *known;
    }
    if (mode && *mode != "skip" && *mode != "overwrite")
        return bad_field("mode", "must be skip or overwrite");
    if (dry_run && *dry_run != "true" && *dry_run != "false")
        return bad_field("dry_run", "must be true or false");
    out.overwrite = mode == "overwrite";
    out.dry_run = dry_run == "true";
    if (group) out.group = *group;
    if (out.format == import_format::automatic) out.format = guess_format(out.source());
    return out;
}

error not_ours(std::string why) {
    return error(errc::invalid_argument, "the document is refused: " + std::move(why));
}

result<parcels> read_records(const json::object& document) {
    parcels out;
    const auto* records = document.if_contains("records");
    if (records == nullptr || !records->is_object()) return not_ours("it has no records");
    std::size_t count = 0;
    for (const auto& kind : records->get_object()) {
        const std::string_view name(kind.key().data(), kind.key().size());
        if (!kind.value().is_array()) return not_ours("its records are not lists");
        if (find_portable(name) == nullptr) {
            out.ignored.push_back("records of a kind that this release does not know: " +
                                  std::string(name.substr(0, 64)));
            continue;
        }
        for (const auto& one : kind.value().get_array()) {
            const auto* item = one.if_object();
            const auto* id = item == nullptr ? nullptr : item->if_contains("id");
            const auto* data = item == nullptr ? nullptr : item->if_contains("data");
            if (id == nullptr || data == nullptr || !id->is_string() || !data->is_object())
                return not_ours("a record without id or data");
            if (++count > max_import_items) return not_ours("it has more than 100,000 records");
            out.items.push_back({std::string(name), std::string(id->get_string()),
                                 std::make_shared<json::object>(data->get_object())});
        }
    }
    if (const auto* peppers = document.if_contains("peppers")) {
        const auto* list = peppers->if_array();
        if (list == nullptr || list->size() > auth::max_peppers)
            return not_ours("its peppers are malformed");
        for (const auto& one : *list) {
            if (!one.is_string() || one.get_string().size() < 32 || one.get_string().size() > 256)
                return not_ours("its peppers are malformed");
            out.peppers.emplace_back(std::string(one.get_string()));
        }
    }
    return out;
}

result<parcels> read_native(const import_options& options, bool sealed_before = false) {
    const auto* document = options.document.if_object();
    const auto* version = document == nullptr ? nullptr : document->if_contains("keywheel_export");
    if (version == nullptr || !version->is_int64()) return not_ours("it is no export of keywheel");
    if (version->get_int64() != export_format)
        return not_ours("it has a format that this release does not read");
    const auto* sealed = document->if_contains("sealed");
    if (sealed == nullptr) return read_records(*document);
    if (sealed_before || !sealed->is_string()) return not_ours("its sealed part is malformed");
    if (options.passphrase.empty())
        return bad_field("passphrase", "is missing: send {\"document\": …, \"passphrase\": …}");
    const auto opened = crypto::open_by_passphrase(
        options.passphrase, std::string_view(sealed->get_string()), export_label);
    if (!opened) return bad_field("passphrase", "does not open the document");
    import_options inside;
    boost::system::error_code failed;
    inside.document = json::parse(opened->reveal(), failed);
    if (failed) return not_ours("what was sealed is not valid JSON");
    return read_native(inside, true);
}

// ---- what is done with each record

struct outcome {
    std::string kind;
    std::string id;
    std::string_view result;
    std::string reason;
    std::size_t write = SIZE_MAX;  // in the list of writes
};

struct plan {
    std::vector<outcome> outcomes;
    std::vector<store::change> writes;
    std::optional<config::settings_version> settings;
    bool access_keys = false;  // some come with their hashes
};

result<plan> make_plan(call& c, const import_options& options, parcels& all) {
    plan out;
    auto state = begin_import(c, all.peppers);
    // Made when it is needed.
    if (options.format != import_format::keywheel) state.groups.emplace(default_group);
    for (const auto& kind : portable_kinds()) {
        for (auto& item : all.items) {
            if (item.kind != kind.kind) continue;
            auto& told = out.outcomes.emplace_back(outcome{item.kind, item.id, "", "", SIZE_MAX});
            // Ids of foreign records were made just now; only their groups bring their own.
            const bool fresh = options.format != import_format::keywheel && item.kind != group_kind;
            const auto stored = fresh ? result<store::record>(error(errc::store_not_found))
                                      : c.services.store.get(item.kind, item.id);
            if (!stored && stored.error().code != errc::store_not_found) return stored.error();
            std::optional<json::object> before;
            if (stored) {
                auto object = parse_object(stored->json);
                before = object ? std::move(*object) : json::object();
            }
            const auto decided = kind.close(c, state, item, before ? &*before : nullptr);
            if (decided.does != verdict::what::write) {
                told.result = decided.does == verdict::what::skip ? "skipped" : "refused";
                told.reason = decided.reason;
                continue;
            }
            const bool same = before && (item.kind == config::stored_kind
                                             ? before->contains("values") &&
                                                   before->at("values") == item.data->at("values")
                                             : *before == *item.data);
            if (same || (before && !options.overwrite)) {
                told.result = same ? "unchanged" : "skipped";
                if (!same) told.reason = "there is one of this id already";
                continue;
            }
            told.result = before ? "overwritten" : "created";
            if (item.kind == config::stored_kind) {
                auto version = config::version_from_json(json::serialize(*item.data));
                if (version) out.settings = std::move(*version);
                continue;
            }
            out.access_keys = out.access_keys || item.kind == auth::access_key_kind;
            told.write = out.writes.size();
            out.writes.push_back(
                {{item.kind, item.id, stored ? stored->revision : 0, json::serialize(*item.data)},
                 false});
        }
    }
    return out;
}

// Those of the document that this store does not have yet; errc::invalid_argument: too many.
result<std::vector<store::record>> new_peppers(call& c, const std::vector<secret>& peppers) {
    std::vector<secret> known = {c.services.pepper};
    for (store::page_request at{1000, {}};;) {
        const auto page = c.services.store.list(auth::pepper_kind, at);
        if (!page) return page.error();
        for (const auto& record : page->items) {
            if (!auth::is_other_pepper(record)) continue;
            if (auto opened = auth::open_pepper(record, c.services.sealer))
                known.push_back(std::move(*opened));
        }
        if (page->next.empty()) break;
        at.cursor = page->next;
    }
    std::vector<store::record> out;
    for (const auto& pepper : peppers) {
        if (std::ranges::find(known, pepper) != known.end()) continue;
        if (known.size() >= auth::max_peppers)
            return error(errc::invalid_argument,
                         "access keys of too many stores have been imported here: regenerate those "
                         "of one before more come");
        known.push_back(pepper);
        out.push_back(auth::seal_other_pepper(pepper, c.services.sealer));
    }
    return out;
}

// Writes, and puts right what the plan said of records that were changed meanwhile.
result<void> carry_out(call& c, plan& p) {
    const auto done = c.services.store.write_all(p.writes);
    for (auto& told : p.outcomes) {
        if (told.write == SIZE_MAX) continue;
        const auto& written = done[told.write];
        if (written) continue;
        told.result = "refused";
        told.reason = written.error().code == errc::store_conflict ? "it was changed meanwhile"
                                                                   : "the store cannot be reached";
    }
    if (p.settings) {
        const auto before = read_config(c);
        if (!before) return before.error();
        std::optional<reply> refused;
        const auto written =
            write_config(c, *before, std::move(p.settings->values), "import", refused);
        auto told = std::ranges::find(p.outcomes, config::stored_kind, &outcome::kind);
        if (!written && told != p.outcomes.end()) {
            told->result = "refused";
            told->reason = "they were changed meanwhile";
        }
    }
    if (const auto synced = c.records.sync(); !synced) return synced.error();
    // The running pool learns of keys that were disabled, banned or taken back.
    for (const auto& told : p.outcomes) {
        const auto* entry = told.kind == key_kind && told.result == "overwritten"
                                ? c.records.key(told.id)
                                : nullptr;
        if (entry == nullptr) continue;
        const auto status = entry->key.status;
        set_live(c, told.id,
                 status == pool::admin_status::enabled    ? pool::key_status::active
                 : status == pool::admin_status::disabled ? pool::key_status::disabled
                                                          : pool::key_status::banned);
    }
    return {};
}

void write_report(json_writer& w, const import_options& options, const plan& p, const parcels& from,
                  const std::vector<made_text>& texts) {
    w.begin_object().field("dry_run", options.dry_run).field("format", to_string(options.format));
    for (const std::string_view word :
         {"created", "overwritten", "unchanged", "skipped", "refused"})
        w.field(word, std::int64_t{std::ranges::count(p.outcomes, word, &outcome::result)});
    w.key("items").begin_array();
    for (const auto& told : p.outcomes) {
        w.begin_object().field("kind", told.kind).field("id", told.id.substr(0, 64));
        w.field("result", told.result);
        if (!told.reason.empty()) w.field("reason", told.reason);
        w.end_object();
    }
    w.end_array();
    write_texts(w, "ignored", from.ignored);
    if (!texts.empty() && !options.dry_run) {
        w.key("access_keys").begin_array();
        for (const auto& one : texts) {
            const auto told = std::ranges::find_if(p.outcomes, [&](const outcome& o) {
                return o.kind == auth::access_key_kind && o.id == one.id;
            });
            if (told == p.outcomes.end() || told->result != "created") continue;
            w.begin_object().field("id", one.id).field("name", one.name);
            w.field("key", one.text.reveal()).end_object();
        }
        w.end_array();
    }
    w.end_object();
}

}  // namespace

result<reply> import_all(call& c) {
    auto options = read_options(c);
    if (!options) return options.error();
    parcels all;
    std::vector<made_text> texts;
    if (options->format == import_format::keywheel) {
        auto read = read_native(*options);
        if (!read) return read.error();
        all = std::move(*read);
    } else {
        const import_makers make{
            .id =
                [&c](std::string_view prefix) {
                    return make_id(prefix, c.services.clock.wall(), c.random);
                },
            .hash =
                [&c](const secret& text) { return auth::hash_key_text(text, c.services.pepper); },
            .text = [] { return auth::make_key_text(); },
            .variable =
                [&c](const std::string& name) {
                    return c.services.config == nullptr ? std::nullopt
                                                        : c.services.config->variable(name);
                },
            .now = c.services.clock.wall()};
        auto read = read_foreign(options->format, options->source(), options->group, make);
        if (!read) return read.error();
        all = std::move(read->records);
        texts = std::move(read->texts);
        const bool into_default = std::ranges::any_of(all.items, [&](const parcel& item) {
            const auto* group = item.data->if_contains("group");
            return item.kind == key_kind && group != nullptr &&
                   *group == json::value(default_group);
        });
        if (into_default && !options->dry_run) {
            if (const auto ok = need_group(c, std::string(default_group)); !ok) return ok.error();
            if (const auto synced = c.records.sync(); !synced) return synced.error();
        }
    }
    auto planned = make_plan(c, *options, all);
    if (!planned) return planned.error();
    std::vector<store::record> peppers;
    if (planned->access_keys) {
        auto missing = new_peppers(c, all.peppers);
        if (!missing) return missing.error();
        peppers = std::move(*missing);
    }
    if (!options->dry_run) {
        // First, so that no access key is there without what opens it.
        for (const auto& pepper : peppers) {
            const auto put = c.services.store.put(pepper);
            if (!put && put.error().code != errc::store_conflict) return put.error();
        }
        if (const auto done = carry_out(c, *planned); !done) return done.error();
        log::event(log::level::warn, "admin.imported",
                   {{"format", to_string(options->format)},
                    {"written", planned->writes.size()},
                    {"source", c.request.source}});
    }
    std::string data;
    json_writer w(data);
    write_report(w, *options, *planned, all, texts);
    return answer(data);
}

}  // namespace kw::admin
