//! The routes of the API and their description in one place, so that no route is without one.
//!
//! The description is an `OpenAPI` 3.1 document. Its schemas are made of the very types that requests are read into and answers
//! are written from, and its sentences are what stands beside those types.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use filter_core::access::Role;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Problem;
use super::routes::Agent;

/// Largest body of a request, in bytes, where a route does not say otherwise.
const BODY_LIMIT: usize = 65_536;

/// Where the document is.
pub(super) const DOCUMENT: &str = "/api/v1/openapi.json";

/// Routes and what is said of them.
pub(super) struct Contract {
    router: Router<Agent>,
    paths: BTreeMap<&'static str, Map<String, Value>>,
    schemas: SchemaGenerator,
}

impl Contract {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self { router: Router::new(), paths: BTreeMap::new(), schemas: settings.into_generator() }
    }

    fn on<H, T>(
        mut self,
        filter: MethodFilter,
        method: &str,
        path: &'static str,
        handler: H,
        describe: fn(Told<'_>) -> Told<'_>,
    ) -> Self
    where
        H: Handler<T, Agent>,
        T: 'static,
    {
        let told = describe(Told::new(&mut self.schemas, method, path));
        let limit = told.limit;
        let route = on(filter, handler)
            .layer(DefaultBodyLimit::max(limit))
            .layer(middleware::from_fn(move |request, next| refuse_long(limit, request, next)));
        self.paths.entry(path).or_default().insert(method.to_owned(), Value::Object(told.operation));
        self.router = self.router.route(path, route);
        self
    }

    /// The routes, and the document that describes them.
    pub(super) fn finish(mut self) -> (Router<Agent>, Value) {
        let problem = self.schemas.subschema_for::<Problem>();
        let mut schemas = self.schemas.take_definitions(true);
        // Its own schema is "one of two", and one cannot tell an IPv4 network from an IPv6 one by their patterns: there are none.
        if let Some(network) = schemas.get_mut("IpNet") {
            *network = json!({
                "type": "string",
                "description": "An address or network with its prefix length",
                "examples": ["192.0.2.0/24", "2001:db8::/48"],
            });
            schemas.retain(|name, _| name != "Ipv4Net" && name != "Ipv6Net");
        }
        let paths: Map<String, Value> =
            self.paths.into_iter().map(|(path, methods)| (path.to_owned(), methods.into())).collect();
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Gatepost",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Sessions, lists, events and settings of an SMTP edge filter. On the control socket the kernel says who asks.",
                "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "security": [{ "token": [] }, { "sign-in": [] }],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "responses": {
                    "Problem": {
                        "description": "What went wrong, and the remedy (RFC 9457)",
                        "content": { "application/problem+json": { "schema": problem } },
                    },
                    "TooMany": {
                        "description": "More requests than an address, or a user or token, may make (over TCP; requests_per_second in [web])",
                        "headers": { "Retry-After": {
                            "description": "Seconds to wait",
                            "required": true,
                            "schema": { "type": "integer" },
                        } },
                        "content": { "application/problem+json": { "schema": problem } },
                    },
                },
                "securitySchemes": {
                    "token": { "type": "http", "scheme": "bearer", "description": "made by `gatepost token create`" },
                    "sign-in": { "type": "apiKey", "in": "cookie", "name": "gatepost", "description": "of somebody who has signed in to the pages" },
                },
            },
        });
        // What is not described is not there, and says so as every other problem.
        let not_so = || async {
            let detail = format!("this route does not take that method; see {DOCUMENT}");
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        };
        let nothing = || async {
            Problem::new(StatusCode::NOT_FOUND, format!("there is no such route; see {DOCUMENT}"))
        };
        (self.router.method_not_allowed_fallback(not_so).fallback(nothing), document)
    }
}

/// Refuses a body by what its header says of it. Refused while it comes, the client might not hear the answer (RFC 9112 section
/// 9.6), and one that asks first (`Expect: 100-continue`) would be told to send it.
async fn refuse_long(limit: usize, request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > limit as u64) {
        let detail = format!("a request to this route has at most {limit} bytes");
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    }
    next.run(request).await
}

/// One method of [`Contract`] for each method of HTTP.
macro_rules! methods {
    ($($(#[$what:meta])+ $method:ident is $filter:ident;)+) => {
        impl Contract {
            $(
                $(#[$what])+
                pub(super) fn $method<H, T>(
                    self,
                    path: &'static str,
                    handler: H,
                    describe: fn(Told<'_>) -> Told<'_>,
                ) -> Self
                where
                    H: Handler<T, Agent>,
                    T: 'static,
                {
                    self.on(MethodFilter::$filter, stringify!($method), path, handler, describe)
                }
            )+
        }
    };
}

methods! {
    /// A route that looks.
    get is GET;
    /// A route that adds or starts something.
    post is POST;
    /// A route that changes something.
    patch is PATCH;
    /// A route that removes something.
    delete is DELETE;
}

/// What is said of one route.
pub(super) struct Told<'a> {
    schemas: &'a mut SchemaGenerator,
    operation: Map<String, Value>,
    limit: usize,
}

impl<'a> Told<'a> {
    fn new(schemas: &'a mut SchemaGenerator, method: &str, path: &str) -> Self {
        let words = path.trim_start_matches("/api/v1").replace(['/', '.'], "-");
        let role = Role::needed(&method.to_uppercase(), path).name();
        let mut told = Self { schemas, operation: Map::new(), limit: BODY_LIMIT };
        told.operation.insert("operationId".to_owned(), format!("{method}{words}").into());
        told.operation.insert("description".to_owned(), format!("Takes the role {role}.").into());
        told.operation.insert("x-role".to_owned(), role.into());
        told
    }

    /// What it does, in one line.
    pub(super) fn does(mut self, what: &str) -> Self {
        self.operation.insert("summary".to_owned(), what.into());
        self
    }

    /// What may stand behind the question mark.
    pub(super) fn asks<T: JsonSchema>(mut self) -> Self {
        let schema = T::json_schema(self.schemas).to_value();
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let fields = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let parameter = |(name, field): (String, Value)| {
            let is_required = required.contains(&Value::from(name.as_str()));
            let description = field.get("description").cloned().unwrap_or_default();
            json!({ "in": "query", "name": name, "required": is_required, "description": description, "schema": given(field) })
        };
        let parameters: Vec<_> = fields.into_iter().map(parameter).collect();
        self.operation.insert("parameters".to_owned(), parameters.into());
        self
    }

    /// What the body of a request is.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        let schema = self.schemas.subschema_for::<T>();
        let content = json!({ "application/json": { "schema": schema } });
        self.operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
        self
    }

    /// How large that body may be, in bytes.
    pub(super) fn up_to(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// What it answers.
    pub(super) fn answers<T: JsonSchema>(self) -> Self {
        self.answers_as::<T>(&["application/json"])
    }

    /// That nobody needs a name to ask it.
    pub(super) fn for_everybody(mut self) -> Self {
        self.operation
            .insert("description".to_owned(), "Takes no name. Over TCP nobody is told what is wrong.".into());
        self.operation.insert("security".to_owned(), json!([]));
        self.operation.remove("x-role");
        self
    }

    /// What it answers, in other forms than JSON.
    pub(super) fn answers_as<T: JsonSchema>(mut self, media: &[&str]) -> Self {
        let schema = self.schemas.subschema_for::<T>();
        let content: Map<String, Value> =
            media.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect();
        let responses = json!({
            "200": { "description": "Done", "content": content },
            "429": { "$ref": "#/components/responses/TooMany" },
            "default": { "$ref": "#/components/responses/Problem" },
        });
        self.operation.insert("responses".to_owned(), responses);
        self
    }
}

/// The schema of a value that is either given or not there: a query has no null.
fn given(field: Value) -> Value {
    let Value::Object(mut field) = field else { return field };
    field.remove("description");
    field.remove("default");
    if let Some(Value::Array(kinds)) = field.get("type") {
        let kinds: Vec<_> = kinds.iter().filter(|kind| *kind != "null").cloned().collect();
        if let [kind] = kinds.as_slice() {
            field.insert("type".to_owned(), kind.clone());
        }
    }
    if let Some(Value::Array(choices)) = field.get("anyOf") {
        let is_null = |choice: &&Value| choice.get("type").is_some_and(|kind| kind == "null");
        if let [choice] = choices.iter().filter(|choice| !is_null(choice)).collect::<Vec<_>>().as_slice() {
            return (*choice).clone();
        }
    }
    Value::Object(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Query {
        /// Whose.
        name: String,
        limit: Option<u32>,
        role: Option<Role>,
    }

    async fn nothing() {}

    #[test]
    fn a_route_is_described_as_it_is_made() {
        let contract = Contract::new()
            .get("/api/v1/a/b", nothing, |told| told.does("Nothing").asks::<Query>().answers::<Vec<Role>>());
        let contract = contract.post("/api/v1/a/b", nothing, |told| told.does("Less").answers::<()>());
        let (_, document) = contract.finish();
        let get = &document["paths"]["/api/v1/a/b"]["get"];
        assert_eq!(get["operationId"], "get-a-b");
        assert_eq!(get["x-role"], "viewer");
        assert_eq!(document["paths"]["/api/v1/a/b"]["post"]["x-role"], "operator");
        let parameters = get["parameters"].as_array().unwrap();
        let of = |name: &str| parameters.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!((&of("name")["required"], &of("name")["description"]), (&json!(true), &json!("Whose.")));
        assert_eq!(of("limit")["schema"]["type"], "integer");
        assert_eq!(of("role")["schema"]["$ref"], "#/components/schemas/Role");
        assert!(document["components"]["schemas"]["Problem"].is_object(), "{document}");
    }
}
