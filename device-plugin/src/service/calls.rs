//! The calls of a device plugin over HTTP/2. The server that is generated from the API encodes a list for
//! each stream anew; of 10,000 devices that is a copy and a walk over all of them, each time.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use prost::Message;
use prost::bytes::{BufMut, Bytes};
use tonic::body::Body;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::codegen::http::{Request as HttpRequest, Response as HttpResponse};
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tripod_proto::deviceplugin::v1beta1::Empty;
use tripod_proto::deviceplugin::v1beta1::device_plugin_server::SERVICE_NAME;

use super::{Service, options};

/// A request names every available device, so it can be as long as the largest device list, or longer.
const MAX_REQUEST: usize = 64 * 1024 * 1024;

/// A [`Service`] that is called over a connection.
#[derive(Clone, Debug)]
pub struct Calls(pub(super) Service);

impl NamedService for Calls {
    const NAME: &'static str = SERVICE_NAME;
}

impl tower::Service<HttpRequest<Body>> for Calls {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { Ok(answer(service, request).await) })
    }
}

async fn answer(service: Service, request: HttpRequest<Body>) -> HttpResponse<Body> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    match method.as_str() {
        "GetDevicePluginOptions" => unary(request, |Empty {}| ready(Ok(options(&service.snapshot())))).await,
        "ListAndWatch" => {
            let lists = service_fn(|_| ready(Ok::<_, Status>(service.list_and_watch())));
            Grpc::new(ListCodec).server_streaming(lists, request).await
        }
        "GetPreferredAllocation" => {
            unary(request, |asked| ready(Ok(service.preferred_allocation(&asked)))).await
        }
        "Allocate" => unary(request, |asked| ready(service.allocate(&asked))).await,
        "PreStartContainer" => unary(request, |asked| service.pre_start_container(asked)).await,
        other => Status::unimplemented(format!("{SERVICE_NAME} has no method {other:?}")).into_http(),
    }
}

async fn unary<A, B, F>(request: HttpRequest<Body>, mut call: impl FnMut(A) -> F) -> HttpResponse<Body>
where
    A: Message + Default + 'static,
    B: Message + 'static,
    F: Future<Output = Result<B, Status>>,
{
    let answered = service_fn(|asked: Request<A>| {
        let answer = call(asked.into_inner());
        async { answer.await.map(Response::new) }
    });
    let codec = ProstCodec::<B, A>::default();
    Grpc::new(codec).apply_max_message_size_config(Some(MAX_REQUEST), None).unary(answered, request).await
}

/// Writes lists, which are bytes already, and reads what asks for them.
#[derive(Clone, Copy, Debug)]
struct ListCodec;

impl Codec for ListCodec {
    type Encode = Bytes;
    type Decode = Empty;
    type Encoder = ListCodec;
    type Decoder = <ProstCodec<Empty, Empty> as Codec>::Decoder;

    fn encoder(&mut self) -> ListCodec {
        ListCodec
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<Empty, Empty>::default().decoder()
    }
}

impl Encoder for ListCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, list: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(list);
        Ok(())
    }
}
