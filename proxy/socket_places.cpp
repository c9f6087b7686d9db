// Where a WebSocket's responses are kept, and which key its first message asks for.
#include <algorithm>

#include "proxy/question.hpp"
#include "proxy/socket_books.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t max_refs = 64;  // objects that one message names
constexpr auto remembered = 10min;    // what this worker knows of a response's account
constexpr auto answer_time = 5s;      // of the store, which has deadlines of its own

}  // namespace

void socket_books::moved(const pool::picked& to) {
    on_ = &to;
    first_ = false;
    if (x_.w_.shared().objects == nullptr || !x_.snap_.accounts || !x_.own_credential_.empty())
        return;
    if (!x_.objects_) x_.objects_ = std::make_unique<object_work>();
    account_ = x_.told_account(x_.call_.head(), to);
    if (account_.empty()) account_ = x_.snap_.accounts->of(*to.key);
    owner_ = x_.object_owner();
}

bool socket_books::is_of(std::string_view account) const {
    return account == account_ ||
           std::ranges::any_of(x_.members_of(account), [this](const pool::account_member& m) {
               return m.tier->keys()[m.key].key->id == on_->key->id;
           });
}

bool socket_books::serves(const pool::model_route& route) const {
    if (!route.group.empty() && route.group != on_->of->id && route.group != on_->of->name)
        return false;
    if (route.model.empty() || on_->tier == nullptr) return true;
    const pool::lane* lane = on_->tier->lane_for(route.model);
    return lane != nullptr && lane->find(on_->slot.index) != nullptr;
}

std::vector<store::object_binding> socket_books::bindings_of(const std::string& id,
                                                             std::chrono::milliseconds keep) {
    std::vector<store::object_binding> all;
    if (account_.empty() || !is_object_id(id)) return all;
    const mono_time now = x_.w_.loop().now();
    if (const auto* known = x_.w_.objects().find(id, now); known != nullptr && known->known)
        return all;
    x_.w_.objects().put(id, {true, account_, owner_}, now + remembered);
    all.push_back({id, account_, owner_, std::chrono::ceil<std::chrono::seconds>(keep), false});
    x_.add_stand_in(all, account_, *on_->key);
    return all;
}

// The store has it before the client hears of the response. Those of the realtime API are nobody's
// to ask for.
net::task<void> socket_books::bind_response() {
    if (x_.endpoint_.family != "responses") co_return;
    auto all = bindings_of(server_.response_id(), x_.snap_.settings->objects.response_lifetime);
    if (all.empty()) co_return;
    auto q = std::make_shared<question<bool>>();
    x_.w_.shared().objects->bind(std::move(all), answer_to(q, x_.w_.loop()));
    co_await wait_for(q, x_.client_.wait, x_.w_.loop().now() + answer_time);
}

// A session of the realtime API and its conversation; the client need not wait for these.
void socket_books::bind_session() {
    auto all = bindings_of(server_.made_id(), x_.snap_.settings->objects.short_lifetime);
    if (!all.empty()) x_.w_.shared().objects->bind(std::move(all), [](bool) {});
}

net::task<result<std::string>> socket_books::account_of_objects(std::string_view text) {
    std::string account;
    std::vector<object_ref> refs;
    if (!account_.empty() && may_refer_to_state(text)) refs = find_refs(text, max_refs);
    if (refs.empty()) co_return account;
    std::vector<std::string> ids;
    for (const auto& ref : refs)
        ids.push_back(ref.id);
    auto places = co_await x_.ask_places(ids);
    if (!places) co_return places.error();
    std::vector<std::string> named;
    for (const auto& place : *places)
        if (place.known) named.emplace_back(x_.snap_.accounts->canonical(place.account));
    auto keys_known = co_await x_.find_stand_ins(std::move(named));
    if (!keys_known) co_return keys_known.error();
    const bool all = x_.snap_.settings->objects.isolation == config::object_isolation::none;
    for (std::size_t i = 0; i < ids.size() && i < places->size(); ++i) {
        const store::object_place& place = (*places)[i];
        if (!place.known) continue;
        const bool own = all || place.owner.empty() || place.owner == owner_ ||
                         (access_ && place.owner == access_->id);
        if (!own)
            co_return error(errc::object_not_found, "No such object: '" + ids[i] + "'.",
                            error_source::downstream);
        const std::string_view name = x_.snap_.accounts->canonical(place.account);
        if (!refs[i].firm) continue;
        if (account.empty()) account = name;
        if (account != name || (!first_ && !is_of(account)))
            co_return error(errc::accounts_differ,
                            "'" + ids[i] + "' is kept by another account than " +
                                (first_ ? "what else is named." : "this WebSocket's."),
                            error_source::downstream);
    }
    co_return account;
}

}  // namespace kw::proxy
