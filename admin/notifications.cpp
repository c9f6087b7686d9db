// Channels of notifications: where operators are told of what happens. Their addresses may hold
// tokens, so they are secrets like the keys beside them.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/group_edit.hpp"
#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "config/channel.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;
using config::channel_settings;

constexpr std::string_view hidden = "***";
constexpr std::size_t max_channels = 200;

const error no_such_channel(errc::store_not_found);

struct entry {
    channel_settings channel;
    std::uint64_t revision = 0;
    bool declared = false;
    std::string sealed;  // the record's secrets
};

// One that does not open is shown without its secrets.
entry read(const call& c, const store::record& r) {
    entry out;
    auto channel = config::channel_from_json(r.json, r.id, c.services.sealer);
    if (channel) out.channel = std::move(*channel);
    out.channel.id = r.id;
    out.revision = r.revision;
    out.sealed = config::sealed_secrets(r.json);
    return out;
}

result<std::vector<entry>> all_channels(const call& c) {
    std::vector<entry> out;
    const auto page = c.services.store.list(config::channel_record, {.limit = 1'000, .cursor = {}});
    if (!page) return page.error();
    for (const auto& r : page->items)
        out.push_back(read(c, r));
    // What is declared goes before a record of the same id.
    for (const auto& d : c.services.settings()->channels) {
        std::erase_if(out, [&](const entry& e) { return e.channel.id == d.id; });
        out.push_back({d, 0, true, {}});
    }
    return out;
}

result<entry> one_channel(const call& c) {
    for (const auto& d : c.services.settings()->channels)
        if (d.id == c.id) return entry{d, 0, true, {}};
    const auto r = c.services.store.get(config::channel_record, c.id);
    if (!r) return r.error().code == errc::store_not_found ? no_such_channel : r.error();
    return read(c, *r);
}

std::string shown_url(const channel_settings& ch) {
    return ch.type == config::channel_type::email ? std::string(ch.url.reveal())
                                                  : config::without_token(ch.url);
}

void write_channel(json_writer& w, const call& c, const entry& e) {
    const auto& ch = e.channel;
    w.begin_object()
        .field("id", ch.id)
        .field("name", ch.name)
        .field("type", to_string(ch.type))
        .field("disabled", ch.disabled);
    w.key("events").begin_array();
    for (unsigned i = 0; i < config::notice_kinds; ++i) {
        const auto kind = static_cast<config::notice_kind>(i);
        if (ch.events.has(kind)) w.value(to_string(kind));
    }
    w.end_array();
    // A template may hold a token for the receiver.
    const bool reads_all = c.what.who.is >= auth::role::operator_;
    const auto mask = [](const secret& s) { return s.empty() ? std::string_view() : hidden; };
    w.field("url", shown_url(ch))
        .field("key", mask(ch.key))
        .field("authorization", mask(ch.authorization))
        .field("body", reads_all || ch.body.empty() ? std::string_view(ch.body) : hidden)
        .field("content_type", ch.content_type)
        .field("chat", ch.chat)
        .field("user", ch.user)
        .field("from", ch.from);
    write_texts(w, "to", ch.to);
    w.key("deliveries");
    const auto told = c.services.deliveries_of ? c.services.deliveries_of(ch.id) : std::string();
    told.empty() ? w.null() : w.raw(told);
    w.field("declared", e.declared).field("revision", e.revision).end_object();
}

reply shown(const call& c, const entry& e, std::uint16_t status = 200) {
    std::string data;
    json_writer w(data);
    write_channel(w, c, e);
    return answer(data, e.revision, status);
}

void read_text(body_fields& in, const char* name, std::string& to, std::size_t most,
               const std::string& otherwise = {}) {
    if (!in.given(name)) return;
    to = in.text(name, most).value_or(otherwise);
}

// What is sent back as it was shown means what is stored.
void read_secret(body_fields& in, const char* name, secret& to, std::string_view as_shown) {
    if (!in.given(name)) return;
    const auto text = in.text(name).value_or("");
    if (!text.empty() && text == as_shown) return;
    to = secret(text);
}

void read_events(body_fields& in, config::flags& to) {
    if (!in.given("events")) return;
    const auto* v = in.take("events");
    if (v == nullptr) {
        to = channel_settings().events;
        return;
    }
    to = {};
    const auto bad = [&] {
        std::string all;
        for (unsigned i = 0; i < config::notice_kinds; ++i)
            all.append(i == 0 ? "" : ", ").append(to_string(static_cast<config::notice_kind>(i)));
        in.fault("events", "must be a list of " + all);
    };
    if (!v->is_array()) return bad();
    for (const auto& word : v->get_array()) {
        const auto kind = word.is_string()
                              ? config::parse_notice_kind(std::string_view(word.get_string()))
                              : std::nullopt;
        if (!kind || *kind == config::notice_kind::test) return bad();
        to.bits |= 1U << static_cast<unsigned>(*kind);
    }
}

void read_fields(body_fields& in, channel_settings& ch) {
    if (in.given("type")) {
        const auto type = config::parse_channel_type(in.text("type").value_or("webhook"));
        if (type)
            ch.type = *type;
        else
            in.fault("type", "must be webhook, slack, feishu, dingtalk, telegram or email");
    }
    read_text(in, "name", ch.name, 256, ch.id);
    if (in.given("disabled")) {
        const auto* v = in.take("disabled");
        if (v == nullptr || v->is_bool())
            ch.disabled = v != nullptr && v->get_bool();
        else
            in.fault("disabled", "must be true or false");
    }
    read_events(in, ch.events);
    read_secret(in, "url", ch.url, shown_url(ch));
    read_secret(in, "key", ch.key, hidden);
    read_secret(in, "authorization", ch.authorization, hidden);
    read_text(in, "body", ch.body, 16 * 1024);
    read_text(in, "content_type", ch.content_type, 128, channel_settings().content_type);
    read_text(in, "chat", ch.chat, 64);
    read_text(in, "user", ch.user, 256);
    read_text(in, "from", ch.from, 256);
    if (in.given("to")) {
        ch.to.clear();
        const auto* v = in.take("to");
        if (v != nullptr && !v->is_array()) in.fault("to", "must be a list of addresses");
        if (v != nullptr && v->is_array())
            for (const auto& address : v->get_array())
                ch.to.emplace_back(address.is_string() ? address.get_string().c_str() : "");
    }
}

void check(const call& c, body_fields& in, const channel_settings& ch) {
    const auto fault = config::fault_of(ch, c.services.settings()->upstream.allow_link_local);
    if (fault) in.fault(fault->field, fault->reason);
}

result<reply> save(call& c, entry e, std::uint16_t status) {
    const store::record r{std::string(config::channel_record), e.channel.id, e.revision,
                          config::channel_to_json(e.channel, c.services.sealer, e.sealed)};
    std::optional<reply> refused;
    const auto written = write(c, r, refused);
    if (refused) return *refused;
    if (!written) return written.error();
    e.revision = *written;
    if (c.services.changed) c.services.changed();
    return shown(c, e, status);
}

reply declared_elsewhere() {
    return refuse(409, "declared", "the channel is declared in the configuration: change it there");
}

}  // namespace

result<reply> list_channels(call& c) {
    auto q = c.query();
    const auto disabled = q.choice("disabled", {"any", "false", "true"}, 0);
    const auto list = read_list(q, "id");
    if (const auto ok = q.finish(); !ok) return ok.error();
    auto found = all_channels(c);
    if (!found) return found.error();
    std::erase_if(*found, [&](const entry& e) {
        return (disabled != 0 && e.channel.disabled != (disabled == 2)) ||
               !list.finds({e.channel.id, e.channel.name, to_string(e.channel.type)});
    });
    using text = const std::string&;
    const auto page =
        page_of(*found, list, column{"id", [](const entry& e) -> text { return e.channel.id; }},
                column{"name", [](const entry& e) -> text { return e.channel.name; }},
                column{"type", [](const entry& e) { return to_string(e.channel.type); }});
    std::string data;
    json_writer w(data);
    w.begin_object().key("notifications").begin_array();
    for (const auto& e : page)
        write_channel(w, c, e);
    w.end_array();
    write_pagination(w, list.at, found->size());
    w.end_object();
    return answer(data);
}

result<reply> show_channel(call& c) {
    const auto e = one_channel(c);
    if (!e) return e.error();
    return shown(c, *e);
}

result<reply> create_channel(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    entry e;
    e.channel.id = in.text("id", 64).value_or("");
    if (e.channel.id.empty())
        e.channel.id = make_id("ch_", c.services.clock.wall(), c.random);
    else if (!good_group_id(e.channel.id))
        in.fault("id", "must be 1 to 64 letters, digits, '-', '_' or '.'");
    e.channel.name = e.channel.id;
    read_fields(in, e.channel);
    check(c, in, e.channel);
    if (const auto ok = in.finish(); !ok) return ok.error();
    const auto all = all_channels(c);
    if (!all) return all.error();
    if (std::ranges::any_of(*all, [&](const entry& x) { return x.channel.id == e.channel.id; }))
        return refuse(409, "duplicate_channel", "there is a channel of this id already");
    if (all->size() >= max_channels)
        return refuse(409, "too_many_channels", "there are 200 channels already");
    return save(c, std::move(e), 201);
}

result<reply> update_channel(call& c) {
    auto e = one_channel(c);
    if (!e) return e.error();
    if (e->declared) return declared_elsewhere();
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto receiver = e->channel.url;
    read_fields(in, e->channel);
    check(c, in, e->channel);
    const auto stale = is_stale(c, &in, e->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(e->revision);
    // A secret that nobody sees must not be sent to another receiver than it was given for.
    if (!(receiver == e->channel.url)) {
        for (const char* name : {"key", "authorization"}) {
            const auto& held = *name == 'k' ? e->channel.key : e->channel.authorization;
            const auto* sent = body->if_contains(name);
            if (!held.empty() && (sent == nullptr || *sent == json::value(hidden)))
                return bad_field(name, "must be given again with another url");
        }
    }
    return save(c, std::move(*e), 200);
}

result<reply> delete_channel(call& c) {
    const auto e = one_channel(c);
    if (!e) return e.error();
    if (e->declared) return declared_elsewhere();
    const auto stale = is_stale(c, nullptr, e->revision);
    if (!stale) return stale.error();
    if (*stale) return conflict(e->revision);
    const auto erased = c.services.store.erase(config::channel_record, c.id, e->revision);
    if (!erased) return erased.error();
    if (c.services.changed) c.services.changed();
    return answer(R"({"deleted":true})");
}

result<reply> test_channel(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    if (const auto ok = body_fields(*body).finish(); !ok) return ok.error();
    const auto e = one_channel(c);
    if (!e) return e.error();
    if (!c.services.test_channel)
        return refuse(503, "not_available", "there are no notifications in this process");
    c.later = [send = c.services.test_channel,
               channel = e->channel](const std::function<void(reply)>& done) {
        send(channel, [done](const result<void>& sent) {
            std::string data;
            json_writer w(data);
            w.begin_object().field("delivered", sent.has_value());
            w.field("message", sent ? std::string("the receiver took it")
                                    : "not delivered: " + sent.error().context);
            w.end_object();
            done(answer(data));
        });
    };
    return reply();
}

}  // namespace kw::admin
