// One client request under /v1 from its head to its ledger record: who, may they, which key, try
// and try again, relay, book. The only place where auth, pool and usage meet.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/container/static_vector.hpp>

#include "auth/access_key.hpp"
#include "core/secret.hpp"
#include "net/body_framer.hpp"
#include "net/http_head.hpp"
#include "net/task.hpp"
#include "pool/fault_policy.hpp"
#include "pool/model_alias.hpp"
#include "pool/retry_policy.hpp"
#include "pool/selector.hpp"
#include "proxy/affinity.hpp"
#include "proxy/client_connection.hpp"
#include "proxy/error_response.hpp"
#include "proxy/exchange_trace.hpp"
#include "proxy/lease_renewer.hpp"
#include "proxy/relay.hpp"
#include "proxy/request_body.hpp"
#include "proxy/socket_upgrade.hpp"
#include "proxy/upstream_call.hpp"
#include "store/admission.hpp"
#include "store/objects.hpp"
#include "store/types.hpp"
#include "usage/endpoint.hpp"
#include "usage/prices.hpp"
#include "usage/request_fields.hpp"
#include "usage/scanner.hpp"

namespace kw::store {
struct exchange_start;
}

namespace kw::proxy {

class worker;
struct list_query;
struct list_source;

// Lives in the session's frame for one request; the loop's thread only. Whatever happens, its
// destructor finds the record written and the key given back.
class exchange {
  public:
    // head has been parsed out of client.in, client.used stands behind it.
    exchange(worker& w, client_connection& client, net::http_head& head);
    exchange(const exchange&) = delete;
    exchange& operator=(const exchange&) = delete;
    ~exchange();

    // True: the connection may carry the next request.
    net::task<bool> run();

    [[nodiscard]] const std::string& id() const noexcept { return record_.id; }

  private:
    friend class socket_books;

    // What a try came to.
    enum class step : std::uint8_t { again, done, close };

    // ---- before any upstream (exchange.cpp)
    result<void> identify();
    net::task<result<void>> take_body();
    result<void> find_model();
    result<void> check_model() const;
    [[nodiscard]] bool body_is_kept() const noexcept;
    net::task<bool> refuse(error e, error_details details = {});

    // ---- limits of the access key (limits.cpp)
    net::task<step> admit();  // again: admitted; otherwise an answer has been sent
    net::task<step> take(store::admit_answer answer);
    [[nodiscard]] bool wants_slot(const store::admit_answer& answer) const noexcept;
    net::task<step> refuse_admission(error e);
    net::task<step> refuse_by_limit(std::size_t index, std::chrono::milliseconds retry_in);
    net::task<result<store::admit_answer>> ask_admission(const store::admit_request& q);
    [[nodiscard]] store::admit_request admission_request() const;
    [[nodiscard]] std::string rate_limit_lines() const;
    void settle_limits();
    void note_budgets() const;

    // ---- the line for a slot of the access key (queue.cpp)
    [[nodiscard]] std::size_t queue_size() const noexcept;  // 0: nobody waits
    [[nodiscard]] std::chrono::milliseconds queue_timeout() const noexcept;
    // again: admitted. `mark`: taken before the admission was asked.
    net::task<step> stand_in_line(std::uint32_t mark);
    net::task<step> refuse_from_line(std::string_view code, std::string message);

    // ---- the client's session, which stays with one key (client_session.cpp)
    void name_session();
    void prefer_session_key(pool::pick_request& r) const;
    void keep_session(const pool::picked& picked, std::uint32_t preferred);
    void learn_turn(const pool::picked& picked);
    void bind_session(std::uint64_t session, const pool::picked& picked);
    [[nodiscard]] std::uint64_t session_of_model() const noexcept;

    // ---- the client's own upstream credential (pass_through.cpp)
    bool takes_own_credential(const error& why);
    net::task<bool> serve_pass_through();
    [[nodiscard]] const upstream_target& target_of(const pool::picked& picked) const;

    // ---- objects that one upstream account keeps (affinity.cpp, object_list.cpp)
    [[nodiscard]] bool is_about_objects();
    net::task<step> find_account();  // again: go on; otherwise an answer has been sent
    net::task<result<std::vector<store::object_place>>> ask_places(std::vector<std::string> ids);
    net::task<step> search_object(const object_ref& ref);
    // Finds a key for each of these accounts that has none here yet.
    net::task<result<void>> find_stand_ins(std::vector<std::string> accounts);
    [[nodiscard]] std::vector<pool::account_member> members_of(std::string_view account) const;
    // Lets other replicas find the key of an account that they do not know yet.
    void add_stand_in(std::vector<store::object_binding>& all, const std::string& account,
                      const pool::upstream_key& key);
    [[nodiscard]] bool merges_list() const;
    net::task<bool> serve_list();
    net::task<result<std::vector<std::string>>> accounts_of_owner();
    net::task<result<void>> read_ahead(list_source& from, const list_query& query, unsigned& pages);
    net::task<bool> answer_list(std::string body, std::size_t left_out);
    net::task<fetched> fetch(std::string_view account, const std::string& target);
    net::task<step> refuse_object(error e);
    net::task<step> refuse_pinned();
    [[nodiscard]] std::string object_owner() const;
    [[nodiscard]] bool sees(const store::object_place& place) const;
    void restrict_to(std::string_view account);
    bool move_home();
    void note_account(const pool::picked& picked);
    [[nodiscard]] std::string told_account(const net::http_head& answer,
                                           const pool::picked& picked) const;
    [[nodiscard]] bool learns_from_answer(const pool::picked& picked) const;
    net::task<void> learn_answer(const pool::picked& picked, relay_plan& plan);
    [[nodiscard]] std::vector<store::object_binding> take_bindings(const pool::upstream_key& key);

    // ---- work that costs something later (late_work.cpp)
    void read_late_work();
    [[nodiscard]] std::optional<store::object_debt> take_debt();
    void note_debt(store::object_debt debt, store::object_desk::bound done);
    void leave_to_late_work();
    void tell_late_work(bool whole);

    // ---- tries (attempts.cpp)
    net::task<bool> serve();
    net::task<bool> answer_refusal(const pool::refusal& r);
    net::task<step> attempt(pool::picked& picked);
    net::task<upstream_call::outcome> dispatch(const pool::picked& picked);
    net::task<step> after_failure(pool::picked& picked, pool::upstream_result r);
    net::task<step> take_error_answer(pool::picked& picked);
    net::task<step> end_failed(const pool::upstream_result& r);
    net::task<step> pause(std::chrono::nanoseconds length);
    [[nodiscard]] pool::limit_hints read_hints() const;
    void plan_edits(const pool::group& group);
    [[nodiscard]] bool holds_first_token() const noexcept;
    // Of the try under way, where holds_first_token().
    [[nodiscard]] mono_time first_token_deadline(const upstream_target& target) const noexcept;
    bool switch_route(pool::fallback_cause cause);
    [[nodiscard]] pool::pick_request pick_request_now() const;

    // ---- an exchange that becomes a WebSocket (socket_exchange.cpp)
    net::task<std::optional<bool>> read_upgrade();  // an answer was sent: as run()
    void plan_upgrade();                            // of the try that begins
    upstream_call::outcome check_upgrade();
    net::task<step> relay_socket(pool::picked& picked);
    // To a key of the account and for the model that the first message asks for.
    net::task<result<pool::picked>> move_socket(std::string_view account, pool::model_route route);
    net::task<step> close_unmoved(error e);

    // ---- the answer (answer.cpp)
    net::task<step> relay_answer(pool::picked& picked, bool error_answer);
    bool scan_whole_answer();
    [[nodiscard]] std::string own_header_lines(bool whole, bool last_try) const;

    // ---- books (booking.cpp)
    void note_key(const pool::picked& picked);
    void book_start();
    // What the multipliers of group and access key make of a price.
    [[nodiscard]] usage::multipliers rates() const noexcept;
    // The start of a record whose request asks for that model and may use so much.
    [[nodiscard]] store::exchange_start start_of(const store::ledger_record& r,
                                                 std::string_view model,
                                                 const usage::quantities& most,
                                                 std::string_view tier,
                                                 usage::multipliers rates) const;
    // Puts into the record what it cost.
    void price(store::ledger_record& r, std::string_view asked, const usage::quantities& q,
               std::string_view tier, usage::multipliers rates) const;
    void settle_usage();
    void finish(store::exchange_end end, errc code);
    void book_abandoned();
    void note_incident(errc code);

    // ---- traces (booking.cpp)
    void begin_trace();
    void trace_try(const pool::picked& picked);

    worker& w_;
    client_connection& client_;
    net::http_head& head_;
    std::shared_ptr<const std::shared_ptr<const snapshot>> held_;
    const snapshot& snap_;

    mono_time started_;
    mono_time body_done_;
    std::chrono::nanoseconds upstream_time_{};  // waiting for connection, answer's head
    store::ledger_record record_;
    std::string key_alias_;
    std::int64_t group_ppm_ = 1'000'000;
    usage::endpoint endpoint_;
    error_shape shape_ = error_shape::openai;
    const auth::access_key* access_ = nullptr;
    secret own_credential_;  // the client's own, which goes upstream; empty: the pool's keys do
    const auth::access_key* leased_ = nullptr;  // the key that was sent, if a lease handed it out

    kept_body body_;
    net::body_framer body_framer_;
    bool streaming_body_ = false;  // passed through unkept
    bool body_started_ = false;    // …and some of it is gone: no second try
    usage::request_fields fields_;
    usage::multipart_fields multipart_;
    bool json_read_ = false;

    store::admit_request reservation_;
    kept_lease lease_{reservation_};
    std::vector<store::limit_state> limit_states_;  // empty: no limits
    bool admitted_ = false;                         // reserved and not settled yet

    const pool::model_alias* alias_ = nullptr;
    pool::model_route route_;
    std::size_t fallbacks_used_ = 0;
    boost::container::static_vector<pool::slot_id, 16> tried_;
    std::uint16_t tries_on_model_ = 0;
    bool fresh_connection_ = false;
    std::chrono::nanoseconds waited_{};  // for a key to come back
    std::chrono::nanoseconds queued_{};  // for a slot of the access key

    std::unique_ptr<object_work> objects_;  // null: the request is about none

    bool has_sessions_ = false;                                      // a group keeps sessions
    pool::session_policy session_kind_ = pool::session_policy::off;  // how it is named; off: not
    std::uint64_t session_ = 0;                                      // its name's hash; 0: none
    std::uint64_t turn_ = 0;  // of the state that an answer has given the client; 0: none

    std::unique_ptr<exchange_trace> trace_;    // null: not traced
    std::unique_ptr<socket_upgrade> upgrade_;  // null: no WebSocket
    std::int64_t socket_tokens_ = 0;           // of its responses, which have records of their own

    usage::splice_list edits_;
    bool hide_usage_ = false;
    std::string upstream_head_;
    std::string target_;
    upstream_call call_;
    pool::key_use use_;  // of the try that is under way or was the last
    usage::scanner scanner_;
    bool count_answer_ = false;
    std::string error_body_;  // payload of an error answer, for the policy
    mono_time first_content_{};
    mono_time dispatched_{};
    mono_time answered_{};        // the head of the last answer was there
    bool may_be_billed_ = false;  // the request reached an upstream that may generate
    bool journaled_ = false;      // the start is written down
    bool finished_ = false;
};

}  // namespace kw::proxy
