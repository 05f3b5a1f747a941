//! Keeps key bytes out of the SDK's own log.

use aws_sdk_kms::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kms::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::SensitiveOutput;
use aws_smithy_types::body::SdkBody;

/// The SDK logs requests and answers at the level TRACE with their bodies. The body of `Encrypt` holds the key, that of
/// `GenerateMac` the hash of a value: a body that is a stream is not shown, and this makes it one after it was signed.
/// Answers are called sensitive, which those of `Decrypt` and `GenerateDataKey` are anyway.
#[derive(Debug)]
pub(crate) struct HideBodies;

impl Intercept for HideBodies {
    fn name(&self) -> &'static str {
        "phield hides bodies"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(SensitiveOutput);
        let body = context.request_mut().body_mut();
        let shown = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(shown);
        Ok(())
    }
}
